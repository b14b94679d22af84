// Collects this instruction set's kernels.
#include "kernel_table.hpp"

#define OVCORE_TEXT_(x) #x
#define OVCORE_TEXT(x) OVCORE_TEXT_(x)

namespace ovcore::OVCORE_ISA {

template <class T>
std::int64_t pack_errors(MatrixView<const T> logits, const std::int64_t* target, Range samples,
                         std::uint64_t* words, std::int32_t* preds);
void joint_errors(MatrixView<const std::uint64_t> words, Range rows, Range cols,
                  MatrixView<std::int64_t> joint);

extern const KernelTable kernels = {
    OVCORE_TEXT(OVCORE_ISA), pack_errors<float>,    pack_errors<double>,
    pack_errors<float16>,    pack_errors<bfloat16>, joint_errors,
};

}  // namespace ovcore::OVCORE_ISA
