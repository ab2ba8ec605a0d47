// The pages are README.md and docs/, as a test reads them. What a page names is taken from its text alone.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "core/files.h"

namespace engine::test {

struct Page {
  std::filesystem::path path;
  std::string text;
};

inline std::vector<Page> all_pages() {
  std::vector<Page> pages{{"README.md", read_text("README.md")}};
  for (const auto& entry : std::filesystem::recursive_directory_iterator("docs"))
    if (entry.path().extension() == ".md") pages.push_back({entry.path(), read_text(entry.path())});
  return pages;
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// Returns the blocks of a page that are configurations, which begin with a line ```toml.
inline std::vector<std::string> configurations_of(const std::string& text) {
  std::vector<std::string> blocks;
  bool inside = false;
  for (const std::string& line : lines_of(text)) {
    if (inside && line == "```") inside = false;
    else if (inside) blocks.back() += line + '\n';
    if (line != "```toml") continue;
    inside = true;
    blocks.emplace_back();
  }
  return blocks;
}

// Returns the targets of links, TARGET of [text](TARGET).
inline std::vector<std::string> links_of(const std::string& text) {
  std::vector<std::string> targets;
  for (size_t at = text.find("]("); at != std::string::npos; at = text.find("](", at + 1)) {
    const size_t end = text.find(')', at);
    if (end != std::string::npos) targets.push_back(text.substr(at + 2, end - at - 2));
  }
  return targets;
}

// Returns the longest runs of letters, digits and _ . / - in a text, without the dots and dashes around them, such as
// training.batch_size of "--training.batch_size".
inline std::vector<std::string> words_of(const std::string& text) {
  const auto belongs = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '/' || c == '-';
  };
  std::vector<std::string> words;
  for (size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    for (end = begin; end < text.size() && belongs(text[end]);) ++end;
    std::string word = text.substr(begin, end - begin);
    word.erase(0, std::min(word.find_first_not_of(".-"), word.size()));
    while (!word.empty() && (word.back() == '.' || word.back() == '-')) word.pop_back();
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

// Returns the anchor that Markdown gives a heading. It is the heading in small letters, with dashes in place of spaces
// and without other characters.
inline std::string anchor_of(const std::string& heading) {
  std::string anchor;
  for (const char c : heading) {
    if (c >= 'A' && c <= 'Z') anchor += static_cast<char>(c - 'A' + 'a');
    else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_') anchor += c;
    else if (c == ' ') anchor += '-';
  }
  return anchor;
}

inline bool has_anchor(const std::string& text, const std::string& anchor) {
  for (const std::string& line : lines_of(text)) {
    const size_t begin = line.find_first_not_of('#');
    if (begin == 0 || begin == std::string::npos || line[begin] != ' ') continue;
    if (anchor_of(line.substr(begin + 1)) == anchor) return true;
  }
  return false;
}

}  // namespace engine::test
