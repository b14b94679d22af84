// Hits of an ensemble with each model that may join it.
//
// As for pairs: sums over the listed classes, formed in double as defined, decide between those;
// no other class can pass the members' and the model's summed outside scores. Where that does not
// settle a sample, all its classes are summed over the members, once for all models.
#include "settle.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

inline Halves load_halves(const float* from) { return widen(load<Floats>(from)); }
inline Halves load_halves(const double* from) {
  return {load<Doubles>(from), load<Doubles>(from + n_doubles)};
}

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
    std::int32_t common = n_members > 0 ? tops[members[0]] : -1;  // what all members predict
    for (std::int64_t i = 1; i < n_members; ++i)
      if (tops[members[i]] != common) common = -1;

    for (std::int64_t m = 0; m < all.n_models; m += n_floats) {
      const Halves goal = load_halves(all.scores.row(first + target) + m);
      const Doubles low = running[first + target] + goal.low;
      const Doubles high = running[first + target] + goal.high;
      Longs beaten_low{}, beaten_high{};
      for (std::int64_t u = 0; u < size; ++u) {
        if (u == target) continue;
        const Halves score = load_halves(all.scores.row(first + u) + m);
        const Doubles rival_low = running[first + u] + score.low;
        const Doubles rival_high = running[first + u] + score.high;
        if (u < target) {  // the lower class wins a tie
          beaten_low |= rival_low >= low;
          beaten_high |= rival_high >= high;
        } else {
          beaten_low |= rival_low > low;
          beaten_high |= rival_high > high;
        }
      }
      const Halves elsewhere = load_halves(all.outside.row(s) + m);
      const std::uint32_t beaten = lane_mask(beaten_low) | lane_mask(beaten_high) << n_doubles;
      const std::uint32_t clear = lane_mask(low > outside[s] + elsewhere.low) |
                                  lane_mask(high > outside[s] + elsewhere.high) << n_doubles;
      double goals[n_floats];
      store(goals, low);
      store(goals + n_doubles, high);
      for (int lane = 0; lane < n_floats && m + lane < all.n_models; ++lane) {
        const bool in_list = (beaten >> lane & 1) == 0;
        bool hit = in_list && (clear >> lane & 1) != 0;
        if (tops[m + lane] == common || n_members == 0)
          hit = tops[m + lane] == target;
        else if (in_list && !hit)
          hit = in_full.settle(s, m + lane, goals[lane]);
        hits[2 * (m + lane) + right[s]] += hit;
      }
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
