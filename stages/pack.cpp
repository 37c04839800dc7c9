// pack: source files become a packed dataset. Rank 0 lists the source, ranks claim shards.
#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/stop.h"
#include "core/warnings.h"
#include "io/agreement.h"
#include "io/atomic_file.h"
#include "io/checkpoint.h"
#include "io/companions.h"
#include "io/manifest.h"
#include "io/packed_dataset.h"
#include "io/packed_shard.h"
#include "io/sources/shard_packing.h"
#include "io/sources/source.h"
#include "stages/failed_pack.h"
#include "stages/pack_options.h"
#include "stages/pack_results.h"
#include "stages/section_output.h"
#include "stages/source_stamp.h"
#include "stages/stage.h"

namespace retort::stages {
namespace {

using core::DataError;
using core::UsageError;

class Pack : public Stage {
 public:
  void declare(core::OptionTable& table) override {
    declare_pack_options(table, &options_, sources_);
  }
  void validate() const override { check_pack_options(options_, source()); }
  std::vector<FoundInput> found_inputs() const override;
  StageOutcome run(StageContext& context) override;

 private:
  const io::SampleSource& source() const {
    for (const auto& [name, source] : sources_)
      if (name == options_.from) return *source;
    throw UsageError(fmt::format("--from {}: no such source", options_.from));
  }
  io::SourceRequest request(int threads) const;
  io::PackForm form_for(const io::Catalogue& catalogue) const;
  void check_bad(std::uint64_t bad, std::uint64_t total, const io::BadSample& first) const;
  void pack_shards(StageContext& context, const io::Catalogue& catalogue, const io::ShardPlan& plan,
                   const io::PackForm& form, io::MemberLedger& ledger,
                   const std::set<std::string>& present, const std::string& recipe) const;
  void complete(StageContext& context, const io::Catalogue& catalogue, const io::ShardPlan& plan,
                const io::PackForm& form, const std::string& recipe, const std::string& stamp,
                io::MemberLedger& ledger) const;
  bool is_packed(StageContext& context, const std::string& recipe, const std::string& stamp) const;
  std::set<std::string> adopt(comm::Communicator& communicator,
                              const io::MemberLedger& ledger) const;

  PackOptions options_;
  PackSources sources_ = make_pack_sources();
};

std::vector<Stage::FoundInput> Pack::found_inputs() const {
  auto files = source().found_files(request(1));
  if (files.empty()) return {};
  return {{"files of " + options_.from, std::move(files)}};
}

io::SourceRequest Pack::request(int threads) const {
  io::SourceRequest request;
  request.path = options_.source;
  request.text = options_.text;
  request.shape = options_.shape();
  request.seed = options_.seed;
  request.threads = threads;
  return request;
}

io::PackForm Pack::form_for(const io::Catalogue& catalogue) const {
  io::PackForm form;
  if (kind_of_source(options_.from) == io::SourceKind::texts) {
    form.form = io::SampleForm::text;
    return form;
  }
  form.form = options_.store;
  form.fit = options_.fit;
  form.shape = options_.shape();
  form.any_size = form.shape.height != 0;
  form.any_channels = form.shape.channels != 0;
  if (!form.any_size) {
    form.shape.height = catalogue.shape.height;
    form.shape.width = catalogue.shape.width;
  }
  if (!form.any_channels) form.shape.channels = catalogue.shape.channels;
  if (form.shape.elements() == 0)
    throw DataError(
        fmt::format("{}: none of the first 100 pictures can be read; give --size and "
                    "--channels to pack the others",
                    options_.source.string()));
  return form;
}

void Pack::check_bad(std::uint64_t bad, std::uint64_t total, const io::BadSample& first) const {
  if (bad == 0) return;
  const double limit = options_.strict          ? 0
                       : options_.bad_limit < 1 ? options_.bad_limit * static_cast<double>(total)
                                                : options_.bad_limit;
  if (static_cast<double>(bad) <= limit) return;
  throw DataError(fmt::format(
      "{} of {} pictures are broken, {}; the first is {}: {}; repair or "
      "remove them, or raise --bad-limit",
      bad, total,
      options_.strict ? "and --strict allows none" : fmt::format("more than {:.0f}", limit),
      first.name, first.reason));
}

void Pack::pack_shards(StageContext& context, const io::Catalogue& catalogue,
                       const io::ShardPlan& plan, const io::PackForm& form,
                       io::MemberLedger& ledger, const std::set<std::string>& present,
                       const std::string& recipe) const {
  std::vector<const io::ShardPlan::Part*> missing;
  std::uint64_t done = 0;
  for (const auto& part : plan.parts) {
    if (present.contains(io::packed_shard_name(catalogue.splits[part.split], part.shard)))
      done += part.range.size();
    else
      missing.push_back(&part);
  }
  if (context.communicator.root() && !present.contains(std::string(io::kPackedClassesName)))
    ledger.commit(std::string(io::kPackedClassesName),
                  io::packed_classes_image(catalogue.class_names), nlohmann::json::object());
  if (missing.empty()) return;
  const io::SourceRequest request = this->request(context.threads);
  std::vector<std::unique_ptr<io::SampleReader>> readers;
  for (int t = 0; t < std::max(context.threads, 1); ++t)
    readers.push_back(source().open(request, catalogue));
  // Other ranks' shares are guessed as equal: a rank knows only its own.
  core::Progress progress("pack", catalogue.size(), "samples", done);
  const std::string claims = fmt::format("pack {} {}", options_.out.string(), recipe);
  std::uint64_t bad = 0;
  core::stop_on_interrupt();
  try {
    while (!core::stop_requested()) {
      const std::uint64_t next = context.communicator.claim(claims);
      if (next >= missing.size()) break;
      const io::ShardPlan::Part& part = *missing[next];
      auto shard = io::pack_shard(catalogue, plan, part, form, readers);
      bad += shard.facts.bad_items.size();
      if (!shard.facts.bad_samples.empty())
        check_bad(bad, catalogue.size(), shard.facts.bad_samples.front());
      ledger.commit(io::packed_shard_name(shard.facts.split, shard.facts.shard), shard.image,
                    shard.facts.to_json());
      done += part.range.size() * static_cast<std::uint64_t>(context.communicator.size());
      progress.update(std::min<std::uint64_t>(done, catalogue.size()));
    }
  } catch (...) {
    // What this rank cannot do, the others need not finish: take the rest from them.
    while (context.communicator.claim(claims) < missing.size()) {
    }
    throw;
  }
}

std::set<std::string> Pack::adopt(comm::Communicator& communicator,
                                  const io::MemberLedger& ledger) const {
  std::string names;
  io::on_root(communicator, [&] {
    for (const io::Member& member : ledger.adopt()) names += member.name + '\n';
  });
  names = communicator.broadcast(names);
  std::set<std::string> present;
  for (std::size_t begin = 0; begin < names.size();) {
    const std::size_t end = names.find('\n', begin);
    present.insert(names.substr(begin, end - begin));
    begin = end + 1;
  }
  if (!present.empty())
    core::log_info("{}: {} members are there already", options_.out.string(), present.size());
  return present;
}

void Pack::complete(StageContext& context, const io::Catalogue& catalogue,
                    const io::ShardPlan& plan, const io::PackForm& form, const std::string& recipe,
                    const std::string& stamp, io::MemberLedger& ledger) const {
  io::Manifest manifest;
  nlohmann::json results;
  io::on_root(context.communicator, [&] {
    const PackTally tally = tally_up(ledger.records(), catalogue, plan);
    if (tally.bad > 0) check_bad(tally.bad, catalogue.size(), tally.bad_samples.front());
    check_packed(tally, catalogue);
    forget_pack_failure(options_.out);
    manifest = packed_manifest(tally, catalogue, form, options_.from, plan.shard_samples);
    results = pack_results(manifest, tally, catalogue);
    core::take_warnings();  // they are on the log; the folder is the same without
    manifest.companions =
        write_companions(context, options_.out, recipe, manifest.content_digest, results);
    if (!stamp.empty()) manifest.companions.emplace_back(kSourceStampName);
  });
  ledger.seal(context.communicator, std::move(manifest));
  io::on_root(context.communicator, [&] { print_pack(context, results); });
}

/// Collective. Whether the dataset is there, of these files; prints it then.
bool Pack::is_packed(StageContext& context, const std::string& recipe,
                     const std::string& stamp) const {
  if (!is_complete(context, options_.out, recipe, io::kPackedManifestKind)) return false;
  std::uint64_t known = 0;
  io::on_root(context.communicator, [&] {
    if (check_source_stamp(options_.out, options_.source, stamp) == SourceStamp::unknown) return;
    core::log_info("{}: already complete", options_.out.string());
    print_pack(context, io::read_results_file(options_.out));
    known = 1;
  });
  return context.communicator.all_reduce_max(known) == 1;
}

StageOutcome Pack::run(StageContext& context) {
  comm::Communicator& communicator = context.communicator;
  std::string list_text, stamp;
  io::on_root(communicator, [&] {
    const io::Catalogue listed = list_samples(options_, source(), request(context.threads));
    list_text = listed.serialise();
    stamp = listed.stamp;
  });
  stamp = communicator.broadcast(stamp);
  const io::Catalogue catalogue = io::Catalogue::parse(communicator.broadcast(list_text));
  std::string().swap(list_text);
  const io::PackForm form = form_for(catalogue);
  const io::ShardPlan plan = io::plan_shards(catalogue, form, options_.shard_samples);
  const std::string recipe = recipe_hash(context, "source " + catalogue.digest());
  if (is_packed(context, recipe, stamp)) return StageOutcome::done;
  const auto live = io::RunFolder::open(
      communicator, options_.out, recipe,
      context.take_over ? io::RunFolder::TakeOver::yes : io::RunFolder::TakeOver::no);
  io::MemberLedger ledger(options_.out, recipe, stamp);
  io::on_root(communicator, [&] {
    if (io::has_manifest(options_.out)) {
      core::log_warning(
          "{} is missing or damaged: what was packed may be of other files, it is packed anew",
          (options_.out / kSourceStampName).string());
      const io::MemberLedger unknown(options_.out, recipe);
      unknown.reopen();
      unknown.discard();
    }
    clear_failed_pack(options_.out, ledger, stamp);
    keep_source_stamp(options_.out, options_.source, stamp);
  });
  const auto present = adopt(communicator, ledger);
  try {
    io::agree(communicator,
              [&] { pack_shards(context, catalogue, plan, form, ledger, present, recipe); });
    if (communicator.any(core::stop_requested())) {
      core::log_info("stopped on request; the same command goes on from what is there");
      return StageOutcome::stopped;
    }
    complete(context, catalogue, plan, form, recipe, stamp, ledger);
  } catch (const core::Error& error) {
    if (communicator.root()) keep_pack_failure(live, error.what());
    throw;
  }
  return StageOutcome::done;
}

}  // namespace

std::unique_ptr<Stage> make_pack() { return std::make_unique<Pack>(); }

}  // namespace retort::stages
