// Everything that one process has in the kernel: objects, links, shared maps, rings. Only file descriptors hold it, so it ends with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "idle.hpp"
#include "map.hpp"
#include "object.hpp"
#include "ring.hpp"

namespace headwater::kernel {

struct RunStatistics {
  std::uint64_t runCount = 0;
  std::uint64_t runNs = 0;
  // Runs that the kernel left out because the program was running already on that processor.
  std::uint64_t missed = 0;
};

struct IteratorText {
  // errno (positive), 0 when it was read.
  int failed = 0;
  // It wrote more than the bound.
  bool left = false;
  std::vector<std::uint8_t> bytes;
};

// What an iterator may write.
constexpr std::size_t iteratorBytesMax = 67'108'864;

class Probe {
 public:
  Probe() = default;
  ~Probe() { close(); }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  void open(const std::vector<std::pair<std::string, std::string>>& objects, Sizes sizes,
            const std::function<bool(const std::string&)>& wanted);
  void load();
  // Iterators and programs that are run by hand stay as they are.
  void attachAll();
  static void attach(Program& program, const Map* map = nullptr);
  static void detach(Program& program) { program.link.reset(); }

  std::vector<std::unique_ptr<ProbeObject>>& objects() { return objects_; }
  // By name, or by object and name with a slash between; null when there is none. Of two with one name the one that is loaded.
  Program* program(const std::string& name);
  ProbeObject* object(const std::string& name);
  const Map* map(const std::string& name) const;
  // Opened when first asked for; null, and why in `failure`, when there is none.
  Ring* ring(const std::string& name, std::string& failure);

  // What was seen of a map's entries, for `IdleEntries::takeOut`.
  IdleEntries& idle(const std::string& map) { return idle_[map]; }

  // `map`: what an iterator over the entries of a map walks; null for the others.
  IteratorText runIterator(Program& program, const Map* map);
  // Runs a program of type SYSCALL once with a context; answers what it returned, or minus an errno.
  static std::int64_t run(Program& program, std::uint8_t* context, std::size_t contextBytes);

  // errno (positive), 0 when the kernel counts runs from now on; it stops when nobody asks any more.
  int enableStatistics();
  void disableStatistics();
  static RunStatistics statistics(const Program& program);

  void close();

 private:
  std::vector<std::unique_ptr<ProbeObject>> objects_;
  Sizes sizes_;
  Maps maps_;
  std::map<std::string, std::unique_ptr<Ring>> rings_;
  std::map<std::string, IdleEntries> idle_;
  int statisticsFd_ = -1;
};

}  // namespace headwater::kernel
