// One compiled BPF object: opened, its maps shared by name with objects before it, each of its programs loaded on its own.
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "map.hpp"

namespace headwater::kernel {

struct ObjectDelete {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using OwnedObject = std::unique_ptr<bpf_object, ObjectDelete>;

struct LinkDelete {
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};
using OwnedLink = std::unique_ptr<bpf_link, LinkDelete>;

// What a map of this name holds instead of what its object says: entries of a hash, bytes of a ring.
using Sizes = std::map<std::string, std::uint32_t>;
// Maps by name, of all objects that are loaded.
using Maps = std::map<std::string, Map>;

struct Program {
  std::string name;
  std::string section;
  bool wanted = true;
  // errno (positive) of what failed last, 0 when nothing did.
  int failed = 0;
  // What failed, as a sentence; empty when nothing did.
  std::string reason;
  std::string verifierLog;
  // Belongs to the object; null while it is not loaded.
  bpf_program* loaded = nullptr;
  OwnedLink link;
};

class ProbeObject {
 public:
  ProbeObject(std::string name, std::string path) : name_(std::move(name)), path_(std::move(path)) {}

  // False, and why in `failure()`, when the file is no BPF object.
  bool open(const std::function<bool(const std::string&)>& wanted);
  // Loads every wanted program that the kernel takes; adds the maps that it created to `maps`.
  void load(const Sizes& sizes, Maps& maps);
  // Bytes of the section `.data.settings`: before loading they are what the programs start with. Answers an errno, 0 when done.
  int writeSettings(const std::uint8_t* bytes, std::size_t count);

  const std::string& name() const { return name_; }
  const std::string& path() const { return path_; }
  int failed() const { return failed_; }
  const std::string& failure() const { return failure_; }
  std::vector<Program>& programs() { return programs_; }

 private:
  OwnedObject openFresh(std::string& failure, int& failed) const;
  bool prepare(bpf_object* object, const Sizes& sizes, const Maps& maps, std::string& failure) const;
  bool tryLoad(const std::function<bool(const Program&)>& chosen, const Sizes& sizes, const Maps& maps, Program* blamed);
  void loadOneByOne(const Sizes& sizes, const Maps& maps);
  void registerMaps(Maps& maps) const;
  void refuse(int failed, const std::string& failure);

  std::string name_;
  std::string path_;
  OwnedObject object_;
  std::vector<std::uint8_t> settings_;
  std::vector<Program> programs_;
  int failed_ = 0;
  std::string failure_;
};

// Bytes in which a verifier may explain itself; pages that it does not write cost nothing.
constexpr std::size_t verifierLogBytesMax = 8'388'608;
// What of it is kept.
constexpr std::size_t logLinesKept = 20;
constexpr std::size_t logBytesKept = 4'096;

}  // namespace headwater::kernel
