// Numbers in lists of options, whose elements are texts.
#pragma once

#include <string>

#include "core/error.h"
#include "core/options.h"

namespace engine {

// Reads an element of the list `name`, which an error names.
template <class Number>
Number number_of_option(const std::string& name, const std::string& text, const Range& range) {
  try {
    return number_of<Number>(text, range);
  } catch (const UsageError& error) {
    fail_usage(name, " has \"", text.substr(0, 40), "\": ", error.what());
  }
}

}  // namespace engine
