// Entries of a map that nobody writes any more are taken out of it, so that a map that only grows has room for what is new.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "map.hpp"

namespace headwater::kernel {

class IdleEntries {
 public:
  // Takes out entries that were the same in this dump and in `readingsMin` dumps before it, once the map is filled to a quarter; answers
  // them as a dump has them, with what they held last. One that is written while it is taken out is told with that.
  std::vector<std::uint8_t> takeOut(const Map& map, const std::uint8_t* dumped, const Dump& dump, std::uint32_t readingsMin);

 private:
  struct Seen {
    std::uint64_t hash = 0;
    std::uint32_t readings = 0;
    std::uint32_t round = 0;
  };
  // By key; bounded by the map's own size.
  std::unordered_map<std::string, Seen> seen_;
  std::uint32_t round_ = 0;
};

}  // namespace headwater::kernel
