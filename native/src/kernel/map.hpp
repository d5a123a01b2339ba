// Maps by their definition and file descriptor: dump, update, delete. Knows sizes, never what the bytes mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace headwater::kernel {

struct Map {
  std::string name;
  // The object that created it.
  std::string object;
  int fd = -1;
  std::uint32_t type = 0;
  std::uint32_t keyBytes = 0;
  std::uint32_t valueBytes = 0;
  std::uint32_t entriesMax = 0;
  std::uint32_t flags = 0;
};

struct Dump {
  // Of one entry in the buffer: key, then a value for each processor, each rounded up to a multiple of 8.
  std::uint32_t keyBytes = 0;
  std::uint32_t valueBytes = 0;
  // 1 where the map does not keep a value for each processor.
  std::uint32_t cpus = 0;
  std::uint32_t entries = 0;
  // There was more than the buffer holds.
  bool left = false;
  // errno (positive) where the map could not be read to its end.
  int failed = 0;
};

bool isPerCpu(std::uint32_t type);
bool isRing(std::uint32_t type);
// Processors that this machine may have, as per-CPU values are counted.
std::uint32_t possibleCpus();

// Every bucket is seen once. Entries that come or go meanwhile may or may not be in it.
Dump dumpMap(const Map& map, std::uint8_t* into, std::size_t capacity);
// A per-CPU map gets the value on every processor. Both answer an errno (positive), 0 when done; deleting what is not there is done.
int updateMap(const Map& map, const std::uint8_t* key, const std::uint8_t* value);
int deleteFromMap(const Map& map, const std::uint8_t* key);

}  // namespace headwater::kernel
