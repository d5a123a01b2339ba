#include "idle.hpp"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>

namespace headwater::kernel {
namespace {

constexpr std::uint32_t filledPart = 4;
// Of one reading, so that none takes long; the others follow with the next.
constexpr std::size_t takenOutMax = 1'024;

// FNV-1a over words of 8 bytes, which every part of a dump is a multiple of.
std::uint64_t hashOf(const std::uint8_t* bytes, std::size_t count) {
  std::uint64_t hash = 14'695'981'039'346'656'037ULL;
  for (std::size_t at = 0; at < count; at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + at, sizeof(word));
    hash = (hash ^ word) * 1'099'511'628'211ULL;
  }
  return hash;
}

// False when it stays. Kernels before 5.14 cannot take out and tell at once for values per processor: there the dump's stand.
bool takeOne(const Map& map, const std::uint8_t* key, std::uint8_t* values) {
  if (bpf_map_lookup_and_delete_elem(map.fd, key, values) == 0) return true;
  if (errno == ENOENT) return false;
  return bpf_map_delete_elem(map.fd, key) == 0;
}

}  // namespace

std::vector<std::uint8_t> IdleEntries::takeOut(const Map& map, const std::uint8_t* dumped, const Dump& dump, std::uint32_t readingsMin) {
  std::vector<std::uint8_t> taken;
  if (dump.entries < map.entriesMax / filledPart) {
    seen_.clear();
    return taken;
  }
  round_ += 1;
  const std::size_t valueBytes = static_cast<std::size_t>(dump.valueBytes) * dump.cpus;
  const std::size_t entryBytes = dump.keyBytes + valueBytes;
  std::size_t takenOut = 0;
  for (std::uint32_t index = 0; index < dump.entries; index += 1) {
    const std::uint8_t* const entry = dumped + index * entryBytes;
    std::string key(reinterpret_cast<const char*>(entry), map.keyBytes);
    const std::uint64_t hash = hashOf(entry + dump.keyBytes, valueBytes);
    Seen& seen = seen_[key];
    seen.readings = seen.round != 0 && seen.hash == hash ? seen.readings + 1 : 0;
    seen.hash = hash;
    seen.round = round_;
    if (seen.readings < readingsMin || takenOut >= takenOutMax) continue;
    const std::size_t at = taken.size();
    taken.insert(taken.end(), entry, entry + entryBytes);
    if (takeOne(map, entry, taken.data() + at + dump.keyBytes)) {
      takenOut += 1;
      seen_.erase(key);
    } else {
      taken.resize(at);
    }
  }
  std::erase_if(seen_, [this](const auto& known) { return known.second.round != round_; });
  return taken;
}

}  // namespace headwater::kernel
