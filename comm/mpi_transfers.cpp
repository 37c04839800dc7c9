// How MpiBackend moves bytes on its communication thread: posted without blocking, waited for while
// claims of other ranks are answered.
#include <algorithm>

#include "comm/backoff.h"
#include "comm/mpi_backend.h"
#include "comm/mpi_check.h"

namespace retort::comm {
namespace {

// Counts of MPI 3 are ints; longer spans go in pieces.
constexpr std::size_t kPiece = std::size_t{1} << 30;
constexpr int kDataTag = 1;

}  // namespace

void MpiBackend::wait(MPI_Request request) {
  Requests requests{request};
  wait_all(requests);
}

void MpiBackend::wait_all(Requests& requests) {
  Backoff backoff;
  std::vector<int> indices(requests.size());
  for (std::size_t open = requests.size(); open > 0;) {
    int through = 0;
    check_mpi(MPI_Testsome(static_cast<int>(requests.size()), requests.data(), &through,
                           indices.data(), MPI_STATUSES_IGNORE),
              "MPI_Testsome");
    if (through == MPI_UNDEFINED) return;
    poll();
    if (through > 0) {
      open -= static_cast<std::size_t>(through);
      backoff.reset();
    } else {
      backoff.pause();
    }
  }
}

MpiBackend::Requests MpiBackend::post(std::span<const PeerTransfer> transfers) {
  check_transfers(transfers, rank_, size_);
  Requests requests;
  const auto in_pieces = [&](auto bytes, const auto& start) {
    for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
      const auto piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
      start(piece.data(), static_cast<int>(piece.size()), &requests.emplace_back());
    }
  };
  for (const PeerTransfer& transfer : transfers) {
    if (transfer.rank == rank_) continue;
    in_pieces(transfer.receive, [&](std::byte* data, int count, MPI_Request* request) {
      check_mpi(MPI_Irecv(data, count, MPI_BYTE, transfer.rank, kDataTag, comm_, request),
                "MPI_Irecv");
    });
  }
  for (const PeerTransfer& transfer : transfers) {
    if (transfer.rank == rank_) continue;
    in_pieces(transfer.send, [&](const std::byte* data, int count, MPI_Request* request) {
      check_mpi(MPI_Isend(data, count, MPI_BYTE, transfer.rank, kDataTag, comm_, request),
                "MPI_Isend");
    });
  }
  return requests;
}

void MpiBackend::broadcast_from(int root, std::span<std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
    const auto piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(
        MPI_Ibcast(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, root, comm_, &request),
        "MPI_Ibcast");
    wait(request);
  }
}

std::vector<std::uint64_t> MpiBackend::gather_numbers(std::uint64_t value) {
  std::vector<std::uint64_t> all(static_cast<std::size_t>(size_));
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallgather(&value, 1, MPI_UINT64_T, all.data(), 1, MPI_UINT64_T, comm_, &request),
            "MPI_Iallgather");
  wait(request);
  return all;
}

}  // namespace retort::comm
