#include "tasks/scratchpad/expression_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"

namespace engine {

namespace {

using Split = ExpressionSource::Split;
using ByLevel = std::map<int, std::vector<const Expression*>>;

constexpr uint64_t file_stream = uint64_t{0x6669} << 48;
const char* const version = "expressions 1";

uint64_t digest_of(const ByLevel& levels, uint64_t hash) {
  for (const auto& [level, expressions] : levels) {
    hash = hash_of(std::to_string(level) + "\n", hash);
    for (const Expression* e : expressions) hash = hash_of(e->input() + "\n", hash);
  }
  return hash;
}

std::string digest_of(const ByLevel& train, const ByLevel& eval) {
  return hexadecimal(digest_of(eval, hash_of("eval\n", digest_of(train, hash_of("train\n", empty_hash)))));
}

nlohmann::ordered_json json_of(const ByLevel& levels) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [level, expressions] : levels) {
    nlohmann::ordered_json& list = json[std::to_string(level)] = nlohmann::ordered_json::array();
    for (const Expression* e : expressions) list.push_back(e->input());
  }
  return json;
}

ByLevel read_levels(const nlohmann::json& data, const char* split, ExpressionPool& pool, const std::string& file) {
  ByLevel levels;
  const std::string where = file + ": data." + split;
  for (const auto& [key, list] : json_member(data, split, file + ": data").items()) {
    require(key.size() == 1 && '0' <= key[0] && key[0] <= '6' && list.is_array(), where, ".", key,
            " is not a list of expressions of a level from 0 to 6");
    const int level = key[0] - '0';
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string place = where + "." + key + "[" + std::to_string(i) + "]";
      require(list[i].is_string(), place, " is no text");
      const Expression* e = nullptr;
      try {
        e = pool.parse(list[i].get_ref<const std::string&>());
      } catch (const Error& error) {
        fail(place, ": ", error.what());
      }
      require(e->level == level, place, ": \"", e->input(), "\" has level ", e->level, ", not ", level);
      levels[level].push_back(e);
    }
  }
  return levels;
}

// The options that an expression file and a run must have in common.
std::vector<std::pair<std::string, int64_t>> limits_of(const ScratchpadConfig& config) {
  return {{"max_answer_length", config.max_answer_length},
          {"max_total_length", config.max_total_length},
          {"max_depth", config.max_depth},
          {"held_out", config.held_out}};
}

}  // namespace

void ExpressionFile::write(const std::filesystem::path& path, const ScratchpadConfig& config, int64_t quantity,
                           uint64_t seed) {
  const ExpressionSource source({.max_answer_length = config.max_answer_length,
                                 .max_total_length = config.max_total_length,
                                 .held_out = config.held_out});
  ExpressionPool pool;
  ByLevel train, eval;
  for (const Split split : {Split::training, Split::evaluation})
    for (int level = 0; level <= config.max_depth; ++level) {
      const uint64_t stream = file_stream + (split == Split::evaluation);
      std::vector<const Expression*> list = source.sample(philox({1, 0, 0, 0}, seed ^ stream)[0], level, split,
                                                          static_cast<size_t>(quantity), pool);
      Random random(seed, stream | static_cast<uint64_t>(level) << 8);
      for (size_t i = list.size(); i > 1; --i)
        std::swap(list[i - 1], list[random.below(static_cast<uint32_t>(i))]);
      (split == Split::training ? train : eval)[level] = std::move(list);
    }
  nlohmann::ordered_json made_with;
  for (const auto& [name, value] : limits_of(config)) made_with[name] = value;
  made_with["quantity"] = quantity;
  made_with["seed"] = seed;
  const nlohmann::ordered_json json{{"version", version},
                                    {"config", made_with},
                                    {"digest", digest_of(train, eval)},
                                    {"data", {{"train", json_of(train)}, {"eval", json_of(eval)}}}};
  write_file(path, json.dump() + "\n");
}

ExpressionFile::ExpressionFile(const std::filesystem::path& path, const ScratchpadConfig& config,
                               const std::vector<int>& trained) {
  const std::string file = path.string();
  const nlohmann::json json = parse_json_file(path);
  require(json.is_object() && json_string(json, "version", file, "") == version, file,
          " is no file of expressions: engine expressions writes one");
  const nlohmann::json& made_with = json_member(json, "config", file);
  for (const auto& [name, wanted] : limits_of(config)) {
    const int64_t there = json_integer(made_with, name.c_str(), file + ": config", 0, INT32_MAX);
    if (there != wanted && !(name == "max_depth" && there > wanted))
      fail_usage("scratchpad.", name, " is ", wanted, ", but ", file, " was made with ", there,
                 ": set it so, or make another file with engine expressions");
  }
  const nlohmann::json& data = json_member(json, "data", file);
  train_ = read_levels(data, "train", pool_, file);
  eval_ = read_levels(data, "eval", pool_, file);
  digest_ = digest_of(train_, eval_);
  const std::string said = json_string(json, "digest", file);
  require(digest_ == said, file, ": the digest of its data is ", digest_, ", not ", said,
          ", which it was written with: it was changed or is damaged");
  for (const int level : trained)
    if (train_[level].empty()) fail_usage(file, " has no expressions of level ", level, " to train on");
  for (int level = 1; level <= config.max_depth; ++level)
    if (eval_[level].empty()) fail_usage(file, " has no expressions of level ", level, " for evaluation");

  const ExpressionSource limits({.max_answer_length = config.max_answer_length,
                                 .max_total_length = config.max_total_length,
                                 .held_out = config.held_out});
  std::unordered_set<std::string> trained_on;
  for (const ByLevel* split : {&train_, &eval_})
    for (const auto& [level, expressions] : *split)
      for (const Expression* e : expressions) {
        const std::string input = e->input();
        require(limits.within_limits(*e), file, ": \"", input,
                "\" has longer values or a longer scratchpad than its config says");
        longest_input_ = std::max(longest_input_, e->input_length);
        longest_scratchpad_ = std::max(longest_scratchpad_, e->oracle_length);
        if (level < 2) continue;
        if (split == &train_) trained_on.insert(input);
        else if (config.held_out && trained_on.count(input))
          fail(file, ": \"", input, "\" is both for training and for evaluation, which only held_out = 0 allows");
      }
}

const Expression* ExpressionFile::draw(Random& random, int level) const {
  const std::vector<const Expression*>& list = train_.at(level);
  return list[random.below(static_cast<uint32_t>(list.size()))];
}

std::vector<const Expression*> ExpressionFile::sample(uint64_t seed, int level, size_t quantity) const {
  std::vector<const Expression*> list = eval_.at(level);
  if (list.size() <= quantity) return list;
  Random random(seed, file_stream | static_cast<uint64_t>(level));
  for (size_t i = 0; i < quantity; ++i)
    std::swap(list[i], list[i + random.below(static_cast<uint32_t>(list.size() - i))]);
  list.resize(quantity);
  return list;
}

}  // namespace engine
