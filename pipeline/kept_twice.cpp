#include "pipeline/kept_twice.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "io/live_claim.h"
#include "io/posix.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCopies = ".copies";
// In each file: which of them it is, which run it is of, when it was written, and the number of the
// run's folder then.
constexpr const char* kFile = "file";
constexpr const char* kIdentity = "run";
constexpr const char* kRevision = "revision";
constexpr const char* kPlace = "place";

bool is_there(const fs::path& path) {
  std::error_code code;
  return fs::exists(path, code);
}

std::string text_of(const fs::path& path) {
  const auto bytes = io::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The run folder that a file, or its copy, belongs to; empty: none.
fs::path run_of(const fs::path& path) {
  for (fs::path folder = path.parent_path(); folder.has_filename(); folder = folder.parent_path())
    if (folder.filename() == ".plan" || folder.filename() == ".slurm") return folder.parent_path();
  return {};
}

/// Every kept file of a run, and every copy.
std::vector<fs::path> kept_files(const fs::path& run) {
  std::vector<fs::path> files;
  for (const fs::path& file : {run / ".plan" / "settings.json", run / ".slurm" / "jobs.json"})
    files.insert(files.end(), {file, copy_of(file)});
  const fs::path records = run / ".plan" / "sections";
  for (const fs::path& folder : {records, records / kCopies}) {
    std::error_code code;
    for (auto entry = fs::directory_iterator(folder, code);
         !code && entry != fs::directory_iterator(); entry.increment(code))
      if (entry->path().extension() == ".json") files.push_back(entry->path());
  }
  return files;
}

std::string identity_in(const nlohmann::json& json) {
  const auto found = json.find(kIdentity);
  return found == json.end() || !found->is_string() ? "" : found->get<std::string>();
}

/// What most of the run's files say; empty: none says anything, or two say it equally often.
std::string voted_identity(const fs::path& run) {
  std::map<std::string, int> votes;
  for (const fs::path& file : kept_files(run)) {
    try {
      if (is_there(file))
        if (const auto identity = identity_in(io::parse_sealed(text_of(file), file.string()));
            !identity.empty())
          ++votes[identity];
    } catch (const core::Error&) {
      // A damaged file has no voice.
    }
  }
  std::string most;
  int count = 0, next = 0;
  for (const auto& [identity, number] : votes) {
    if (number > count) {
      next = count;
      count = number;
      most = identity;
    } else {
      next = std::max(next, number);
    }
  }
  if (count > 0 && count == next)
    throw core::DataError(fmt::format(
        "{}: as many of its records are of one run as of another one: take the others' files out, "
        "or start the plan again by `retort run`, with its --set options",
        run.string()));
  return most;
}

/// Asked once in a process: a run's identity never changes. Empty: it has none yet.
std::string& known_identity(const fs::path& run) {
  static std::map<fs::path, std::string> known;
  return known[fs::absolute(run).lexically_normal()];
}
std::string identity_of(const fs::path& run) {
  std::string& identity = known_identity(run);
  if (identity.empty()) identity = voted_identity(run);
  return identity;
}

bool is_copy(const fs::path& path) { return path.parent_path().filename() == kCopies; }
fs::path original_of(const fs::path& copy) {
  return copy.parent_path().parent_path() / copy.filename();
}
/// "sections/teacher.json", of the copy as well.
std::string name_of(const fs::path& path) {
  const fs::path file = is_copy(path) ? original_of(path) : path;
  return (file.parent_path().filename() / file.filename()).generic_string();
}

std::string new_identity() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

/// Files of earlier programs name no run: they are taken as they are.
nlohmann::json read_right(const fs::path& path, const Accept& accept = {}) {
  nlohmann::json json = io::parse_sealed(text_of(path), path.string());
  const fs::path run = run_of(path);
  const std::string identity = identity_in(json);
  if (!identity.empty() && !run.empty() && identity != identity_of(run))
    throw core::DataError(path.string() + ": is of another run");
  const auto named = json.find(kFile);
  if (named != json.end() && *named != name_of(path))
    throw core::DataError(path.string() + ": is another file's content");
  if (accept) accept(json);
  return json;
}

/// Files of earlier programs have none.
std::uint64_t number_in(const nlohmann::json& json, const char* field) {
  const auto found = json.find(field);
  return found == json.end() || !found->is_number_unsigned() ? 0 : found->get<std::uint64_t>();
}
std::uint64_t revision_of(const nlohmann::json& json) { return number_in(json, kRevision); }

/// The inode number of the run's folder: a copy of the folder has the same identity and another
/// number. 0: not known.
std::uint64_t place_of(const fs::path& run) {
  struct stat facts {};
  return ::stat(run.c_str(), &facts) == 0 ? facts.st_ino : 0;
}
bool was_written_here(const nlohmann::json& json, const fs::path& run) {
  const std::uint64_t place = number_in(json, kPlace);
  return place != 0 && place == place_of(run);
}

/// Which of two right ones counts. One alone that was written in this folder does: the other comes
/// from a copy of the folder that went on by itself. Else, so after a move, the newer one.
enum class Precedence { first, second, none };
Precedence precedence(const nlohmann::json& first, const nlohmann::json& second,
                      const fs::path& run) {
  const bool here = was_written_here(first, run);
  if (here != was_written_here(second, run)) return here ? Precedence::first : Precedence::second;
  const std::uint64_t one = revision_of(first), two = revision_of(second);
  if (one == two) return Precedence::none;
  return one > two ? Precedence::first : Precedence::second;
}

/// A file as it is there: right, wrong in some way, or neither if it is missing.
struct Reading {
  std::optional<nlohmann::json> json;
  std::exception_ptr fault;
};
Reading reading_of(const fs::path& path, const Accept& accept = {}) {
  Reading reading;
  if (!is_there(path)) return reading;
  try {
    reading.json = read_right(path, accept);
  } catch (const core::Error&) {
    reading.fault = std::current_exception();
  }
  return reading;
}

/// True: all of it is on the disk.
bool write_durably(const fs::path& path, const std::string& text) {
  const io::Descriptor file = io::open_descriptor(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file.valid()) return false;
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::write(file.get(), text.data() + done, text.size() - done);
    if (wrote <= 0) return false;
    done += static_cast<std::size_t>(wrote);
  }
  return ::fsync(file.get()) == 0;
}

/// No fault points: a copy that is missing is only one less. Under its name only when it is whole.
void write_copy(const fs::path& path, const std::string& text) {
  const fs::path copy = copy_of(path), temporary = io::temporary_of(copy);
  std::error_code code;
  fs::create_directories(copy.parent_path(), code);
  if (write_durably(temporary, text)) {
    io::require_not_taken_over();  // the next start removes what is left then
    fs::rename(temporary, copy, code);
  }
  fs::remove(temporary, code);  // where that failed
}

}  // namespace

fs::path copy_of(const fs::path& path) { return path.parent_path() / kCopies / path.filename(); }

bool is_kept(const fs::path& path) { return is_there(path) || is_there(copy_of(path)); }

std::optional<nlohmann::json> read_twice(const fs::path& path, const Accept& accept) {
  if (!is_kept(path)) return std::nullopt;
  Reading file = reading_of(path, accept), copy = reading_of(copy_of(path), accept);
  if (file.json &&
      (!copy.json || precedence(*file.json, *copy.json, run_of(path)) != Precedence::second))
    return std::move(file.json);
  if (copy.json) {
    static std::set<fs::path> told;  // once, however often it is read
    if (told.insert(path).second)
      core::log_warning(
          "{} is damaged, lost, an older one or of another folder; its copy is right and is used",
          path.string());
    return std::move(copy.json);
  }
  if (file.fault) std::rethrow_exception(file.fault);
  throw core::DataError(path.string() + " is missing");
}

void require_right(const fs::path& path) {
  const nlohmann::json json = read_right(path);
  const Reading other = reading_of(is_copy(path) ? original_of(path) : copy_of(path));
  if (!other.json) return;
  const fs::path run = run_of(path);
  const Precedence counts = precedence(json, *other.json, run);
  const char* than = is_copy(path) ? "the file that it is a copy of" : "its copy";
  if (counts == Precedence::second && was_written_here(*other.json, run) &&
      !was_written_here(json, run))
    throw core::DataError(fmt::format("{}: is of another folder than {}", path.string(), than));
  if (counts == Precedence::second)
    throw core::DataError(fmt::format("{}: is of an older state than {}", path.string(), than));
  if (is_copy(path) && counts == Precedence::none && *other.json != json)
    throw core::DataError(fmt::format("{}: differs from {}", path.string(), than));
}

void write_twice(const fs::path& path, nlohmann::json json) {
  io::require_not_taken_over();
  json[kFile] = name_of(path);
  if (const fs::path run = run_of(path); !run.empty()) {
    std::string& identity = known_identity(run);
    try {
      identity = identity_of(run);
    } catch (const core::DataError&) {
      identity.clear();  // two runs' files: from here on neither's
    }
    if (identity.empty()) identity = new_identity();
    json[kIdentity] = identity;
    json[kPlace] = place_of(run);
  }
  // A time, since a file may be removed and begin anew; later than before though clocks go wrong.
  auto revision = static_cast<std::uint64_t>(
      std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count());
  for (const auto& each : {path, copy_of(path)})
    if (const Reading before = reading_of(each); before.json)
      revision = std::max(revision, revision_of(*before.json) + 1);
  json[kRevision] = revision;
  const std::string text = io::sealed_text(std::move(json));
  std::error_code code;
  fs::remove(copy_of(path), code);  // never an older one beside a newer file
  io::write_file(path, std::string_view(text));
  write_copy(path, text);
}

void remove_twice(const fs::path& path) {
  io::require_not_taken_over();
  std::error_code code;
  fs::remove(copy_of(path), code);
  fs::remove(path, code);
}

bool restore_twice(const fs::path& path) {
  const fs::path file = is_copy(path) ? original_of(path) : path;
  try {
    const fs::path right = is_copy(path) ? file : copy_of(file);
    read_right(right);
    const std::string text = text_of(right);
    io::set_aside(path);
    if (is_copy(path))
      write_copy(file, text);
    else
      io::write_file(file, std::string_view(text));
    return true;
  } catch (const core::Error&) {
    return false;
  }
}

}  // namespace retort::pipeline
