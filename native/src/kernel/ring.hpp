// One BPF ring buffer, read through an own mapping: no callback, one copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace headwater::kernel {

// Bytes in front of every record that `drain` writes: u32 length of the record, u32 zero. Records are padded to a multiple of 8.
constexpr std::size_t recordPrefixBytes = 8;

class Ring {
 public:
  // Null, and why in `failure`, where the ring cannot be mapped. `fd` stays the caller's and must live as long as the ring.
  static std::unique_ptr<Ring> open(int fd, std::size_t bytes, std::string& failure);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Copies whole records in order until the next one does not fit or is still being written; answers the bytes written.
  // The reader's position moves over what was copied (and over discarded records) only. A first record that is larger than the whole
  // buffer is answered as minus the bytes it needs.
  std::int64_t drain(std::uint8_t* into, std::size_t capacity);
  // Bytes between the reader's and the writer's position: records with their prefixes, those being written included.
  std::uint64_t waiting() const;
  int fd() const { return fd_; }

 private:
  Ring(int fd, std::size_t bytes, std::size_t pageBytes, void* consumer, void* producer);

  int fd_;
  std::size_t bytes_;
  std::size_t pageBytes_;
  void* consumer_;
  void* producer_;
};

}  // namespace headwater::kernel
