#include "tests/cudasim/symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <cstdlib>
#include <map>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace cudasim {

namespace {

template <class T>
const T* at(const std::string& file, size_t offset, size_t count = 1) {
  return offset + count * sizeof(T) <= file.size() ? reinterpret_cast<const T*>(file.data() + offset) : nullptr;
}

uintptr_t load_address() {  // the program itself comes first
  uintptr_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* result) {
        *static_cast<uintptr_t*>(result) = info->dlpi_addr;
        return 1;
      },
      &address);
  return address;
}

std::map<uintptr_t, std::string> read_symbols() {
  std::map<uintptr_t, std::string> names;
  const std::string file = engine::read_text("/proc/self/exe");
  const auto* const header = at<Elf64_Ehdr>(file, 0);
  const auto* const sections = header ? at<Elf64_Shdr>(file, header->e_shoff, header->e_shnum) : nullptr;
  if (!sections) return names;
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const Elf64_Shdr& table = sections[i];
    const Elf64_Shdr& strings = sections[table.sh_link];
    const size_t count = table.sh_size / sizeof(Elf64_Sym);
    const auto* const symbols = at<Elf64_Sym>(file, table.sh_offset, count);
    if (!symbols || !at<char>(file, strings.sh_offset, strings.sh_size)) continue;
    for (size_t k = 0; k < count; ++k)
      if (ELF64_ST_TYPE(symbols[k].st_info) == STT_FUNC && symbols[k].st_name < strings.sh_size)
        names[load_address() + symbols[k].st_value] = file.data() + strings.sh_offset + symbols[k].st_name;
  }
  return names;
}

}  // namespace

std::string symbol_name(const void* function) {
  static const std::map<uintptr_t, std::string> names = read_symbols();
  const auto found = names.find(reinterpret_cast<uintptr_t>(function));
  if (found == names.end()) return engine::detail::joined("at ", function);
  int status = 0;
  char* const readable = abi::__cxa_demangle(found->second.c_str(), nullptr, nullptr, &status);
  const std::string name = status == 0 ? readable : found->second;
  std::free(readable);
  // Leaves out namespaces and parameters: void engine::cuda::(anonymous namespace)::cast_kernel<float>(float const*).
  const std::string_view scope_name = "(anonymous namespace)::";  // parameters' types may hold it, too
  const size_t scope = name.find(scope_name);
  const size_t begin = scope == std::string::npos || scope != name.find('(') ? 0 : scope + scope_name.size();
  size_t end = begin;
  for (int depth = 0; end < name.size() && (name[end] != '(' || depth > 0); ++end)
    depth += name[end] == '<' ? 1 : name[end] == '>' ? -1 : 0;
  return name.substr(begin, end - begin);
}

}  // namespace cudasim
