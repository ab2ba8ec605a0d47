// CoLA and SST-2 files hold sentences. CoLA has four tab-separated columns without a header, which are source, label (0
// or 1), the original mark and the sentence. SST-2 has a header that names the columns "sentence" and "label". Either
// may be unlabelled, as GLUE's test sets are. It then has a header with "sentence" and, if there is one, "index".
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace engine {

struct Example {
  std::string text;
  int32_t label = -1;  // -1: unlabelled
  std::string index;   // name in predictions, its index column or its number from 0
  size_t line = 0;     // line of its file, from 1
};

enum class GlueFormat { cola, sst2 };

struct ExampleFile {
  std::vector<Example> examples;
  size_t empty = 0;  // sentences without a visible character
  bool labelled = true;
};

// Throws an Error that names file, line and what was expected. It refuses another number of columns (a blank line has
// one), a header with other names or one twice, a label that is none, bad UTF-8 (with its byte), and a file without an
// example. Byte order marks, Windows line ends and blank lines at the end are skipped. Quotation marks are part of the
// text.
ExampleFile read_examples(const std::filesystem::path& file, GlueFormat format);

}  // namespace engine
