// Collects this instruction set's kernels.
#include "kernel_table.hpp"

#define OVCORE_TEXT_(x) #x
#define OVCORE_TEXT(x) OVCORE_TEXT_(x)

namespace ovcore::OVCORE_ISA {

template <class T>
std::int64_t pack_errors(MatrixView<const T> logits, const std::int64_t* target, Range samples,
                         std::uint64_t* words, std::int32_t* preds);
void pack_errors(const std::int64_t* preds, const std::int64_t* target, Range samples,
                 std::uint64_t* words);
void joint_errors(MatrixView<const std::uint64_t> words, Range rows, Range cols,
                  MatrixView<std::int64_t> joint);
void pack_classes(const std::uint16_t* classes, std::int64_t n_planes, Range samples,
                  std::uint64_t* planes);
void joint_agreement(MatrixView<const std::uint64_t> planes, std::int64_t n_planes,
                     std::int64_t n_samples, Range rows, Range cols,
                     MatrixView<std::int64_t> agreement);

extern const KernelTable kernels = {
    OVCORE_TEXT(OVCORE_ISA), pack_errors<float>, pack_errors<double>, pack_errors<float16>,
    pack_errors<bfloat16>,   pack_errors,        joint_errors,        pack_classes,
    joint_agreement,
};

}  // namespace ovcore::OVCORE_ISA
