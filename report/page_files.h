// The page's own files, which stand in this folder and are part of the program.
#pragma once

#include <string_view>

namespace engine {

std::string_view page_html();    // with the places @TITLE@, @STYLE@, @DATA@ and @SCRIPT@
std::string_view page_style();
std::string_view page_script();  // all of the scripts

}  // namespace engine
