#include "launch/build_id.h"

#include <elf.h>
#include <link.h>

#include <cstring>
#include <string_view>

#include <fmt/format.h>

namespace retort::launch {
namespace {

std::size_t padded(std::size_t size) { return (size + 3) / 4 * 4; }

/// The id in a segment of notes; empty if it holds none.
std::string id_in(std::string_view notes) {
  ElfW(Nhdr) note{};
  while (notes.size() >= sizeof note) {
    std::memcpy(&note, notes.data(), sizeof note);
    notes.remove_prefix(sizeof note);
    const std::size_t name = padded(note.n_namesz), content = padded(note.n_descsz);
    if (name > notes.size() || content > notes.size() - name) break;
    const bool is_id =
        note.n_type == NT_GNU_BUILD_ID && notes.substr(0, note.n_namesz) == std::string("GNU\0", 4);
    if (is_id) {
      std::string hex;
      for (const char c : notes.substr(name, note.n_descsz))
        hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
      return hex;
    }
    notes.remove_prefix(name + content);
  }
  return {};
}

// The first object is the program itself.
int look_at_program(dl_phdr_info* object, std::size_t, void* found) {
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* begin = reinterpret_cast<const char*>(object->dlpi_addr + segment.p_vaddr);
    auto& id = *static_cast<std::string*>(found);
    id = id_in({begin, segment.p_memsz});
    if (!id.empty()) break;
  }
  return 1;
}

}  // namespace

std::string build_id() {
  std::string id;
  dl_iterate_phdr(look_at_program, &id);
  return id;
}

}  // namespace retort::launch
