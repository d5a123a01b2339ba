#include "map.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

namespace headwater::kernel {
namespace {

constexpr std::size_t scratchBytes = 1'048'576;
constexpr std::uint32_t batchEntriesMin = 32;
// The kernel's own "not supported", which no C library knows.
constexpr int notSupportedInKernel = 524;

std::size_t roundedUp(std::size_t bytes) { return (bytes + 7) & ~std::size_t{7}; }

// Where entries are written to, one behind the other.
class Writer {
 public:
  Writer(const Map& map, std::uint8_t* into, std::size_t capacity) : map_(map), into_(into) {
    dump_.keyBytes = static_cast<std::uint32_t>(roundedUp(map.keyBytes));
    dump_.valueBytes = static_cast<std::uint32_t>(roundedUp(map.valueBytes));
    dump_.cpus = isPerCpu(map.type) ? possibleCpus() : 1;
    entriesMax_ = static_cast<std::uint32_t>(std::min<std::size_t>(capacity / entryBytes(), UINT32_MAX));
  }

  std::size_t entryBytes() const { return dump_.keyBytes + valueStride(); }
  // Of one key's values as the kernel hands them out: those of per-CPU maps are rounded up, others are not.
  std::size_t kernelValueBytes() const { return isPerCpu(map_.type) ? valueStride() : map_.valueBytes; }
  std::uint32_t room() const { return entriesMax_ - dump_.entries; }
  Dump& dump() { return dump_; }

  void add(const std::uint8_t* key, const std::uint8_t* value) {
    std::uint8_t* const at = into_ + dump_.entries * entryBytes();
    std::memset(at + dump_.keyBytes - 8, 0, 8);
    std::memcpy(at, key, map_.keyBytes);
    if (kernelValueBytes() != valueStride()) std::memset(at + entryBytes() - 8, 0, 8);
    std::memcpy(at + dump_.keyBytes, value, kernelValueBytes());
    dump_.entries += 1;
  }

 private:
  std::size_t valueStride() const { return static_cast<std::size_t>(dump_.valueBytes) * dump_.cpus; }

  const Map& map_;
  std::uint8_t* into_;
  std::uint32_t entriesMax_ = 0;
  Dump dump_;
};

// Answers false where this kernel has no batches for maps of this kind.
bool dumpInBatches(const Map& map, Writer& writer) {
  std::size_t batch = std::max<std::size_t>(batchEntriesMin, scratchBytes / (map.keyBytes + writer.kernelValueBytes()));
  batch = std::min<std::size_t>(batch, std::max<std::uint32_t>(map.entriesMax, 1));
  // Not cleared: most maps fill a small part of it, and pages that nobody touches cost nothing.
  auto keys = std::make_unique_for_overwrite<std::uint8_t[]>(batch * map.keyBytes);
  auto values = std::make_unique_for_overwrite<std::uint8_t[]>(batch * writer.kernelValueBytes());
  std::vector<std::uint8_t> from(std::max<std::size_t>(map.keyBytes, 8));
  std::vector<std::uint8_t> next(from.size());
  bool first = true;
  while (true) {
    auto count = static_cast<std::uint32_t>(batch);
    const int result = bpf_map_lookup_batch(map.fd, first ? nullptr : from.data(), next.data(), keys.get(), values.get(), &count, nullptr);
    const int failed = result < 0 ? errno : 0;
    if (failed == ENOSPC && batch < map.entriesMax) {
      // One bucket holds more than a batch: the same place again with a larger one.
      batch = std::min<std::size_t>(batch * 2, map.entriesMax);
      keys = std::make_unique_for_overwrite<std::uint8_t[]>(batch * map.keyBytes);
      values = std::make_unique_for_overwrite<std::uint8_t[]>(batch * writer.kernelValueBytes());
      continue;
    }
    if (failed != 0 && failed != ENOENT) {
      if (first && (failed == ENOTSUP || failed == notSupportedInKernel || failed == EINVAL)) return false;
      writer.dump().failed = failed;
      return true;
    }
    for (std::uint32_t index = 0; index < count; index += 1) {
      if (writer.room() == 0) {
        writer.dump().left = true;
        return true;
      }
      writer.add(keys.get() + index * map.keyBytes, values.get() + index * writer.kernelValueBytes());
    }
    if (failed == ENOENT) return true;
    from.swap(next);
    first = false;
  }
}

// A key that is deleted meanwhile sends the walk back to its beginning, so the number of steps has a bound.
void dumpOneByOne(const Map& map, Writer& writer) {
  std::vector<std::uint8_t> key(map.keyBytes);
  std::vector<std::uint8_t> next(map.keyBytes);
  std::vector<std::uint8_t> value(writer.kernelValueBytes());
  const std::uint8_t* previous = nullptr;
  for (std::uint32_t step = 0; step < map.entriesMax; step += 1) {
    if (bpf_map_get_next_key(map.fd, previous, next.data()) != 0) {
      if (errno != ENOENT) writer.dump().failed = errno;
      return;
    }
    key.swap(next);
    previous = key.data();
    if (bpf_map_lookup_elem(map.fd, key.data(), value.data()) != 0) continue;
    if (writer.room() == 0) {
      writer.dump().left = true;
      return;
    }
    writer.add(key.data(), value.data());
  }
}

}  // namespace

bool isPerCpu(std::uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

bool isRing(std::uint32_t type) { return type == BPF_MAP_TYPE_RINGBUF; }

std::uint32_t possibleCpus() {
  static const int count = libbpf_num_possible_cpus();
  return count > 0 ? static_cast<std::uint32_t>(count) : 1;
}

Dump dumpMap(const Map& map, std::uint8_t* into, std::size_t capacity) {
  Writer writer(map, into, capacity);
  if (!dumpInBatches(map, writer)) dumpOneByOne(map, writer);
  return writer.dump();
}

int updateMap(const Map& map, const std::uint8_t* key, const std::uint8_t* value) {
  if (!isPerCpu(map.type)) return bpf_map_update_elem(map.fd, key, value, BPF_ANY) == 0 ? 0 : errno;
  const std::size_t stride = roundedUp(map.valueBytes);
  std::vector<std::uint8_t> values(stride * possibleCpus());
  for (std::uint32_t cpu = 0; cpu < possibleCpus(); cpu += 1) std::memcpy(values.data() + cpu * stride, value, map.valueBytes);
  return bpf_map_update_elem(map.fd, key, values.data(), BPF_ANY) == 0 ? 0 : errno;
}

int deleteFromMap(const Map& map, const std::uint8_t* key) {
  if (bpf_map_delete_elem(map.fd, key) == 0 || errno == ENOENT) return 0;
  return errno;
}

}  // namespace headwater::kernel
