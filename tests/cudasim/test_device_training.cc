// Several ranks that train on simulated GPUs: what is hidden behind the backward pass, and how they end.
#include "tests/cudasim/kernel_run.h"
#include "tests/device_training.h"
#include "tests/variable.h"

namespace engine::test::test_device_training {

TEST_CASE("device training: gradients travel while the backward pass goes on, in captured steps, too") {
  const DeviceTraining training;
  // Returns the part of the gradients' bytes that kernels were started behind, before anything waited for them.
  const auto hidden_share = [&](const std::string& name, const std::string& mib) {
    const std::string transfers = training.program.file(name);
    const Variable file("CUDASIM_TRANSFERS", transfers.c_str());
    training.trains(name, 2, {"--training.bucket_mib", mib, "--training.eval_every", "0"});
    std::istringstream lines(read_text(transfers));
    double hidden = 0, all = 0;
    for (double bytes = 0, kernels = 0; lines >> bytes >> kernels; all += bytes)
      if (kernels > 0) hidden += bytes;
    REQUIRE(all > 0);
    return hidden / all;
  };
  // All but the embedding, which is complete last, and here has a tenth of the parameters.
  CHECK(hidden_share("buckets", "0.02") > 0.85);
  // One bucket is as large as the model, so nothing is hidden: the share tells of a lost overlap.
  CHECK(hidden_share("whole", "32") == 0);
  check_same_course(training.course("buckets"), training.course("whole"));
}

TEST_CASE("device training: a killed rank ends all with one line, and the training goes on bit by bit") {
  const DeviceTraining training, whole;
  const std::vector<std::string> small{"--model.num_layers", "1", "--training.batch_size",  "2",
                                       "--data.block_size",  "8", "--training.eval_every", "0"};
  std::string arguments = " train " + training.config + " --output_dir " + training.program.file("runs") +
                          " --device sim --ranks 2 --training.max_steps 100000";
  for (const std::string& one : small) arguments.append(" ").append(one);
  const Ended killed = training.program.shell(training.program.path() + arguments + R"( &
launcher=$!
for i in $(seq 600); do [ -e )" + training.run("run") + R"(/state/progress.json ] && break; sleep 0.05; done
ranks=($(cat /proc/$launcher/task/$launcher/children))
kill -9 ${ranks[1]}
wait $launcher)");
  INFO(killed.error);
  CHECK(killed.code == 1);
  CHECK(killed.error == "engine: rank 1 of 2 ended without a word: was it killed, or was there too little memory?; the "
                        "last saved state can be resumed\n");
  const auto finish = [&small](const DeviceTraining& of) {
    std::vector<std::string> more = small;
    more.insert(more.end(), {"--training.max_steps", "30"});
    of.trains("run", 2, more);
    return read_text(of.run("run") + "/last/model.safetensors");
  };
  CHECK(finish(training) == finish(whole));
}

TEST_CASE("device training: more ranks than GPUs are refused by name, and info tells what several ranks would do") {
  const Variable two("CUDASIM_DEVICES", "2");
  const DeviceTraining training;
  const Ended many = training.train("many", 3);
  CHECK(many.code == 2);
  CAPTURE(many.error);
  CHECK(contains(many.error, "ranks 0 and 2 would share GPU 0 (simulated device) of "));
  CHECK(many.error.find('\n') == many.error.size() - 1);
  const std::string info = training.program.run({"info"}).out;
  CHECK(contains(info, "GPU 1: simulated device, compute capability 9.0"));
  CHECK(contains(info, "several ranks: up to 2 on this machine, rank r on GPU r; NCCL 2.28.9"));
  training.program.fails({"train", training.config, "--device", "check", "--ranks", "2"}, 2,
                         "device = \"check\" compares two devices on one rank, and here are 2");
  const Variable absent("CUDASIM_NCCL", "absent");
  CHECK(contains(training.program.run({"info"}).out, "several ranks: on the CPU: libnccl.so.2 cannot be loaded"));
}

}  // namespace engine::test::test_device_training
