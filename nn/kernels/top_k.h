// Top-K of rows without sorting all classes, and the log-sum-exp of what was not taken. Order:
// value descending, then id ascending. CPU: one thread.
#pragma once

#include <cstdint>
#include <span>

namespace retort::nn {

/// logits [rows, classes] -> ids, values [rows, k] and tail [rows, temperatures.size()]:
/// tail = log sum over classes not taken of exp(z / t), by masked sum (never by subtraction), -inf
/// when k == classes. NaN or infinite logits: DataError naming the row. k <= classes.
template <class T>
void top_k_with_tail(std::uint64_t rows, std::uint64_t classes, std::span<const T> logits,
                     std::uint32_t k, std::span<const double> temperatures,
                     std::span<std::uint32_t> ids, std::span<T> values, std::span<T> tail);

/// The h first-ranked classes of each row and their softmax probabilities at temperature 1 over all
/// classes: ids, probabilities [rows, h], descending. Errors as top_k_with_tail.
template <class T>
void top_probabilities(std::uint64_t rows, std::uint64_t classes, std::span<const T> logits,
                       std::uint32_t h, std::span<std::uint32_t> ids, std::span<T> probabilities);

}  // namespace retort::nn
