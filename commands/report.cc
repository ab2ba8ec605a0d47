// report: one HTML page about runs.
#include <iostream>

#include "commands/verb.h"
#include "core/files.h"
#include "report/page.h"

namespace engine {

namespace {

class ReportVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("RUN", runs_, "run folders, sweep folders, or folders of them", {.required = true});
    flags.add("--output", output_, "the page's file; by default report.html");
    flags.add("--title", title_, "the page's title");
    flags.add("--points", points_, "the most points of a curve; 0: as many as make a page of a few megabytes",
              {.range = at_least(0)});
  }

  int run(Communicator&) override {
    ReportData report = read_report(runs_);
    if (!title_.empty()) report.title = title_;
    write_file(output_, [&](std::ostream& out) { write_page(report, points_, out); });
    std::cout << output_ << ": " << report.runs.size() << (report.runs.size() == 1 ? " run\n" : " runs\n");
    return 0;
  }

 private:
  std::vector<std::string> runs_;
  std::string output_ = "report.html", title_;
  size_t points_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_report_verb() { return std::make_unique<ReportVerb>(); }

}  // namespace engine
