// The sentences of CoLA and SST-2 files. CoLA: four columns, tab-separated, without a header: source, label (0 or 1),
// the original mark, sentence. SST-2: a header that names the columns "sentence" and "label". Either may be unlabelled,
// as GLUE's test sets: a header with "sentence" and, if there is one, "index" or "idx". Where only predictions are
// wanted, a file may also be a plain list of sentences, one a line, without a header and without tabs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace engine {

struct Example {
  std::string text;
  int32_t label = -1;  // -1 where unlabelled
  std::string index;   // its index column, or its number from 0
  size_t line = 0;     // of its file, from 1
  size_t file = 0;     // its number among those that were read together
};

enum class GlueFormat { cola, sst2 };

struct ExampleFile {
  std::vector<Example> examples;
  size_t empty = 0;  // sentences without a visible character
  bool labelled = true;
};

// An Error names file and line, and what was expected, for another number of columns (a blank line has one), a header
// with other names or one twice, a label other than 0 and 1, bad UTF-8 (with its byte) and a file without an example.
// Byte order marks, Windows line ends and blank lines at the end are passed over. Quotation marks are part of the text.
ExampleFile read_examples(const std::filesystem::path& file, GlueFormat format, bool may_be_a_list = false);

}  // namespace engine
