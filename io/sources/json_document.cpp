#include "io/sources/json_document.h"

#include <fmt/format.h>

#include "core/error.h"
#include "io/utf8.h"

namespace retort::io {
namespace {

class Scanner {
 public:
  Scanner(std::string_view document, const std::string& where,
          const std::function<void(const JsonElement&)>& take)
      : text_(document), where_(where), take_(take) {}

  void run() {
    space();
    if (peek() == '{')
      object();
    else if (peek() == '[')
      array({});
    else
      fail("an object of splits, or an array of rows");
    space();
    if (at_ < text_.size()) fail("the end of the file");
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    throw core::DataError(fmt::format("{}:{}: {} is expected, there is {}", where_, line_, expected,
                                      at_ < text_.size()
                                          ? fmt::format("'{}'", escaped(text_.substr(at_, 20)))
                                          : std::string("the end of the file")));
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void expect(char c, const char* name) {
    if (peek() != c || at_ >= text_.size()) fail(name);
    ++at_;
  }
  void space() {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') ++line_;
      if (c != ' ' && c != '\t' && c != '\r' && c != '\n') return;
    }
  }

  void object() {
    ++at_;
    space();
    for (bool first = true; peek() != '}'; first = false) {
      if (!first) expect(',', "',' or '}'");
      space();
      const std::size_t begin = at_;
      if (peek() != '"') fail("the name of a split in '\"'");
      text();
      const std::string_view key = text_.substr(begin + 1, at_ - begin - 2);
      space();
      expect(':', "':'");
      space();
      if (peek() != '[') fail(fmt::format("an array of rows for '{}'", escaped(key)));
      array(key);
      space();
    }
    ++at_;
  }

  void array(std::string_view key) {
    ++at_;
    space();
    for (bool first = true; peek() != ']'; first = false) {
      if (!first) expect(',', "',' or ']'");
      space();
      const std::size_t begin = at_;
      const std::uint64_t line = line_;
      value();
      take_({begin, line, text_.substr(begin, at_ - begin), key});
      space();
    }
    ++at_;
  }

  void text() {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return;
      } else if (text_[at_] == '\n') {
        break;
      }
    }
    fail("the end of a text, '\"',");
  }

  // To the end of a value; what is inside is its parser's to judge.
  void value() {
    const std::size_t begin = at_;
    std::uint64_t depth = 0;
    for (; at_ < text_.size();) {
      const char c = text_[at_];
      if (c == '"') {
        text();
        if (depth == 0) return;
        continue;
      }
      if (depth == 0 &&
          (c == ',' || c == ']' || c == '}' || c == ' ' || c == '\t' || c == '\r' || c == '\n'))
        break;
      if (c == '\n') ++line_;
      if (c == '[' || c == '{') ++depth;
      ++at_;
      if ((c == ']' || c == '}') && --depth == 0) return;
    }
    if (at_ == begin || depth > 0) fail(depth > 0 ? "the end of a row" : "a row");
  }

  std::string_view text_;
  const std::string& where_;
  const std::function<void(const JsonElement&)>& take_;
  std::size_t at_ = 0;
  std::uint64_t line_ = 1;
};

}  // namespace

void scan_json_document(std::string_view document, const std::string& where,
                        const std::function<void(const JsonElement&)>& take) {
  Scanner(document, where, take).run();
}

}  // namespace retort::io
