// What libbpf and the kernel say, in words for people.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace headwater::kernel {

// An errno (positive) as a sentence: what the system calls it, and what that usually means for a program of the kernel.
std::string errnoInWords(int number);

// The last lines of a text, whole lines only, at most `linesMax` lines and `bytesMax` bytes.
std::string lastLines(std::string_view text, std::size_t linesMax, std::size_t bytesMax);

// Keeps what libbpf prints on this thread while it lives; libbpf prints nothing to standard error once one was made.
class LibbpfMessages {
 public:
  LibbpfMessages();
  ~LibbpfMessages();
  LibbpfMessages(const LibbpfMessages&) = delete;
  LibbpfMessages& operator=(const LibbpfMessages&) = delete;
  const std::string& text() const { return text_; }
  void append(std::string_view message);

 private:
  std::string text_;
  LibbpfMessages* outer_;
};

}  // namespace headwater::kernel
