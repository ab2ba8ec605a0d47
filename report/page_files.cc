#include "report/page_files.h"

// The assembler copies a file, by its path from the top of the repository, behind a symbol and sets another at its end.
#define EMBEDDED_FILE(symbol, path)                                                                            \
  asm(".pushsection .rodata\n" #symbol "_begin:\n.incbin \"" path "\"\n" #symbol "_end:\n.byte 0\n.popsection\n"); \
  extern "C" const char symbol##_begin[] __attribute__((visibility("hidden")));                                 \
  extern "C" const char symbol##_end[] __attribute__((visibility("hidden")))

EMBEDDED_FILE(engine_page_html, "report/page.html");
EMBEDDED_FILE(engine_page_css, "report/page.css");
// The scripts are one: table.js declares what chart.js uses, and page.js uses both.
asm(".pushsection .rodata\nengine_page_js_begin:\n.incbin \"report/table.js\"\n.incbin \"report/chart.js\"\n"
    ".incbin \"report/page.js\"\nengine_page_js_end:\n.byte 0\n.popsection\n");
extern "C" const char engine_page_js_begin[] __attribute__((visibility("hidden")));
extern "C" const char engine_page_js_end[] __attribute__((visibility("hidden")));

namespace engine {

std::string_view page_html() { return {engine_page_html_begin, engine_page_html_end}; }
std::string_view page_style() { return {engine_page_css_begin, engine_page_css_end}; }
std::string_view page_script() { return {engine_page_js_begin, engine_page_js_end}; }

}  // namespace engine
