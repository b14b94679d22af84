// Hits of all pair ensembles, by bounding instead of scanning.
//
// A pair is settled on a sample by three sums: of the target's scores, the largest of the other
// listed classes', and that of both best scores outside the list, which no other class can pass.
// Float sums are compared as floats: rounding is monotone, so that where one rounded sum is larger
// the exact one is too. Equal sums settle nothing; those pairs are looked at one by one.
#include "scores.hpp"
#include "settle.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

// Vectors of scores, of the masks that comparing them gives, and of predictions as such masks.
template <class Score>
struct Lanes;
template <>
struct Lanes<float> {
  using Scores = Floats;
  using Masks = Ints;
  using Count = std::int32_t;
  static Ints load_tops(const std::int32_t* from) { return load<Ints>(from); }
};
template <>
struct Lanes<double> {
  using Scores = Doubles;
  using Masks = Longs;
  using Count = std::int64_t;
  static Longs load_tops(const std::int32_t* from) { return load_longs(from); }
};

// The model of a pair whose scores are looked through: fewer of its classes can matter.
template <class Score>
inline std::int64_t read_first(const Candidates<Score>& all, std::int64_t s, std::int64_t a,
                               std::int64_t b) {
  return all.outside.row(s)[b] < all.outside.row(s)[a] ? a : b;
}

template <class Score>
inline void ask_for_row(const Candidates<Score>& all, std::int64_t s, std::int64_t m) {
  if (all.models == nullptr) return;
  const LogitsView& logits = all.models[m].logits;
  with_row(logits, all.lists.samples[s], [&](const auto* row) {
    const auto bytes = static_cast<std::int64_t>(sizeof *row);
    const std::int64_t some = logits.cols < 4096 / bytes ? logits.cols : 4096 / bytes;
    for (std::int64_t k = 0; k < some; k += 64 / bytes) __builtin_prefetch(row + k, 0, 2);
  });
}

// Whether the pair's ensemble gets a listed sample right, to the letter of the definition.
template <class Score>
[[gnu::noinline]] bool settle_pair(const Candidates<Score>& all, std::int64_t s, std::int64_t a,
                                   std::int64_t b, PairHits& hits) {
  ++hits.unsettled;
  const std::int64_t first = all.lists.offsets[s], size = all.lists.offsets[s + 1] - first;
  const std::int64_t target = all.lists.target[s];
  const auto sum = [&](std::int64_t u) {
    const Score* row = all.scores.row(first + u);
    return static_cast<double>(row[a]) + static_cast<double>(row[b]);
  };
  const double of_target = sum(target);
  if (of_target == -infinity) return false;
  for (std::int64_t u = 0; u < size; ++u) {
    const double rival = sum(u);
    if (rival > of_target || (rival == of_target && u < target)) return false;
  }
  const double out_a = static_cast<double>(all.outside.row(s)[a]);
  const double out_b = static_cast<double>(all.outside.row(s)[b]);
  if (of_target > out_a + out_b) return true;
  ++hits.scanned;
  const std::int32_t target_class = all.lists.classes[first + target];
  if (all.models == nullptr)
    return lowest_unlisted(all.lists, s, all.n_classes) > target_class;  // all others score 0
  // Only a class whose score for one model reaches what the other's outside score leaves open.
  const ScoredRow row_a(all, s, a), row_b(all, s, b);
  const bool by_a = read_first(all, s, a, b) == a;
  return !(by_a ? row_a : row_b)
              .any_above(left_open(of_target, by_a ? out_b : out_a), [&](std::int64_t k) {
                const double rival =
                    static_cast<double>(row_a.score(k)) + static_cast<double>(row_b.score(k));
                return rival > of_target || (rival == of_target && k < target_class);
              });
}

// Pairs that a sample leaves to be looked at one by one, while their logits are on their way.
struct Open {
  std::int32_t a, b;
};
constexpr int most_open = 64;

}  // namespace

template <class Score>
void pair_ensemble_hits(const Candidates<Score>& all, Range rows, Range cols, Range listed,
                        void* counts, PairHits& hits) {
  using L = Lanes<Score>;
  using Scores = typename L::Scores;
  using Masks = typename L::Masks;
  using Count = typename L::Count;
  constexpr std::int64_t lanes = vector_bytes / sizeof(Score);
  const std::int64_t left = cols.first / lanes * lanes;  // vectors start at whole multiples
  const std::int64_t width = (cols.last - left + lanes - 1) / lanes * lanes;
  Count* conversions = static_cast<Count*>(counts);
  const std::int64_t more = (rows.last - rows.first) * width;  // from there to rescues
  std::memset(counts, 0, static_cast<std::size_t>(2 * more) * sizeof(Count));

  for (std::int64_t s = listed.first; s < listed.last; ++s) {
    const std::int64_t first = all.lists.offsets[s], size = all.lists.offsets[s + 1] - first;
    const std::int64_t target = all.lists.target[s];
    const std::int32_t* tops = all.lists.tops.row(s);
    const Score* outside = all.outside.row(s);
    const Score* of_target = all.scores.row(first + target);
    Open pairs[most_open];
    int n_open = 0;
    const auto settle_open = [&] {
      for (int i = 0; i < n_open; ++i) {
        const auto [a, b] = pairs[i];
        const bool one_is_right = tops[a] == target || tops[b] == target;
        if (settle_pair(all, s, a, b, hits))
          ++conversions[(a - rows.first) * width + b - left + (one_is_right ? 0 : more)];
      }
      n_open = 0;
    };
    for (std::int64_t a = rows.first; a < rows.last; ++a) {
      const bool a_is_right = tops[a] == target;
      const std::int64_t start = larger(left, (a + 1) / lanes * lanes);
      Count* row = conversions + (a - rows.first) * width - left;
      for (std::int64_t b = start; b < cols.last; b += lanes) {
        const Masks predicted = L::load_tops(tops + b);
        const Masks differ = predicted != tops[a];
        if (lane_mask(differ) == 0) continue;
        const Scores goal = load<Scores>(of_target + b) + of_target[a];
        const Scores elsewhere = load<Scores>(outside + b) + outside[a];
        Scores rival = Scores{} - static_cast<Score>(infinity);
        const Score* score = all.scores.row(first);
        for (std::int64_t u = 0; u < size; ++u, score += all.scores.row_stride)
          if (u != target) rival = larger(rival, load<Scores>(score + b) + score[a]);
        const Masks hit = differ & (goal > rival) & (goal > elsewhere);
        const Masks open = differ & ~(rival > goal) & ~hit;
        std::uint32_t bits = lane_mask(open);
        for (std::int64_t j = b; bits != 0; ++j, bits >>= 1) {
          if ((bits & 1) == 0 || j <= a || j < cols.first || j >= cols.last) continue;
          if (n_open == most_open) settle_open();
          ask_for_row(all, s, read_first(all, s, a, j));
          pairs[n_open++] = {static_cast<std::int32_t>(a), static_cast<std::int32_t>(j)};
        }
        const Masks one_is_right = a_is_right ? ~Masks{} : predicted == static_cast<Count>(target);
        store(row + b, load<Masks>(row + b) - (hit & one_is_right));
        store(row + b + more, load<Masks>(row + b + more) - (hit & ~one_is_right));
      }
    }
    settle_open();
  }

  for (std::int64_t a = rows.first; a < rows.last; ++a)
    for (std::int64_t b = larger(a + 1, cols.first); b < cols.last; ++b) {
      const std::int64_t at = (a - rows.first) * width + b - left;
      hits.conversions.row(a)[b] += conversions[at];
      hits.rescues.row(a)[b] += conversions[at + more];
    }
}

template void pair_ensemble_hits(const Candidates<float>&, Range, Range, Range, void*, PairHits&);
template void pair_ensemble_hits(const Candidates<double>&, Range, Range, Range, void*, PairHits&);

}  // namespace ovcore::OVCORE_ISA
