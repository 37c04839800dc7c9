// Parts of the report's page, in its order; each is empty where the run has nothing of it.
#pragma once

#include <string>
#include <vector>

#include "pipeline/comparison.h"
#include "pipeline/report.h"

namespace retort::pipeline {

/// What a reader should know before the numbers: failures, what is missing, what is not finite.
std::string notes_html(const Report& report);
/// The main figures in a few cards: teacher, labels alone, the best distilled and what it gains.
std::string glance_html(const Report& report, const std::vector<Comparison>& comparisons);
/// Teacher, hard labels, distilled: intervals drawn and in numbers, paired differences.
std::string comparisons_html(const std::vector<Comparison>& comparisons);
/// Tables of every section's numbers over its seeds.
std::string results_html(const Report& report);
/// Curves of each training section, seeds overlaid, and all sections against each other.
std::string training_html(const Report& report);
/// Classes with the lowest recall, with samples; the most confused pairs. Models in the order of
/// the cards, the main ones unfolded.
std::string classes_html(const Report& report, const std::vector<Comparison>& comparisons);
/// Of each label matrix: how alike classes are, and the most similar ones with samples.
std::string labels_html(const Report& report);
/// Seconds by section and by phase.
std::string time_html(const Report& report);
/// State, duration and hashes of each section, its options; how sections of a stage differ.
std::string sections_html(const Report& report);
/// Versions, processor, ranks and threads.
std::string environment_html(const Report& report);

}  // namespace retort::pipeline
