// Hits of an ensemble with each model that may join it.
//
// As for pairs: sums over the listed classes, formed in double as defined, decide between those;
// no other class can pass the members' and the model's summed outside scores. Where that does not
// settle a sample, all its classes are summed over the members, once for all models.
#include "settle.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

inline Doubles load_doubles(const float* from) { return load_half(from, 0); }
inline Doubles load_doubles(const double* from) { return load<Doubles>(from); }

// What members' scores sum to for every class of one sample, made where first asked for.
template <class Score>
struct Sums {
  const Candidates<Score>& all;
  const std::int64_t* members;
  std::int64_t n_members;
  float* scratch;
  double* total;
  std::int64_t made_for = -1;

  // Whether the ensemble and model m get sample s right; `of_target` is the target's sum.
  [[gnu::noinline]] bool settle(std::int64_t s, std::int64_t m, double of_target) {
    if (of_target == -infinity) return false;
    const std::int64_t target = all.lists.offsets[s] + all.lists.target[s];
    const std::int64_t target_class = all.lists.classes[target];
    if (all.models == nullptr)  // classes that are not listed score 0, and the target no more
      return lowest_unlisted(all.lists, s, all.n_classes) > target_class;
    if (made_for != s) {
      for (std::int64_t k = 0; k < all.n_classes; ++k) total[k] = 0;
      for (std::int64_t i = 0; i < n_members; ++i)
        ScoredRow(all, s, members[i]).add_to(total, scratch);
      made_for = s;
    }
    const ScoredRow row(all, s, m);
    const double most = static_cast<double>(all.outside.row(s)[m]);
    for (std::int64_t k = 0; k < all.n_classes; ++k) {
      if (total[k] + most < of_target) continue;  // listed classes have been compared
      const double rival = total[k] + static_cast<double>(row.score(k));
      if (rival > of_target || (rival == of_target && k < target_class)) return false;
    }
    return true;
  }
};

}  // namespace

template <class Score>
void candidate_hits(const Candidates<Score>& all, const std::int64_t* members,
                    std::int64_t n_members, const double* running, const double* outside,
                    const std::uint8_t* right, Range listed, float* scratch, double* sums,
                    std::int64_t* hits) {
  Sums<Score> in_full{all, members, n_members, scratch, sums};
  for (std::int64_t s = listed.first; s < listed.last; ++s) {
    const std::int64_t first = all.lists.offsets[s], size = all.lists.offsets[s + 1] - first;
    const std::int64_t target = all.lists.target[s];
    const std::int32_t* tops = all.lists.tops.row(s);
    std::int64_t common = n_members > 0 ? tops[members[0]] : -1;  // what all members predict
    for (std::int64_t i = 1; i < n_members; ++i)
      if (tops[members[i]] != common) common = -1;

    std::int64_t* counts = hits + (right[s] ? all.scores.cols : 0);
    for (std::int64_t m = 0; m < all.n_models; m += n_doubles) {
      const Doubles goal =
          load_doubles(all.scores.row(first + target) + m) + running[first + target];
      Longs beaten{};
      for (std::int64_t u = 0; u < size; ++u) {
        if (u == target) continue;
        const Doubles rival = load_doubles(all.scores.row(first + u) + m) + running[first + u];
        beaten |= u < target ? rival >= goal : rival > goal;  // the lower class wins a tie
      }
      const Longs clear = goal > load_doubles(all.outside.row(s) + m) + outside[s];
      const Longs predicted = load_longs(tops + m);
      const Longs agrees = n_members == 0 ? ~Longs{} : predicted == Longs{} + common;
      const Longs hit = (agrees & (predicted == Longs{} + target)) | (~agrees & ~beaten & clear);
      store(counts + m, load<Longs>(counts + m) - hit);
      std::uint32_t open = lane_mask(~agrees & ~beaten & ~clear);
      for (std::int64_t lane = m; open != 0 && lane < all.n_models; ++lane, open >>= 1)
        if ((open & 1) != 0) counts[lane] += in_full.settle(s, lane, goal[lane - m]);
    }
  }
}

template void candidate_hits(const Candidates<float>&, const std::int64_t*, std::int64_t,
                             const double*, const double*, const std::uint8_t*, Range, float*,
                             double*, std::int64_t*);
template void candidate_hits(const Candidates<double>&, const std::int64_t*, std::int64_t,
                             const double*, const double*, const std::uint8_t*, Range, float*,
                             double*, std::int64_t*);

}  // namespace ovcore::OVCORE_ISA
