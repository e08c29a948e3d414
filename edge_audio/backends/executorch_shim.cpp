// Runs one method of an ExecuTorch program behind four C functions, so that Python needs ctypes
// and not torch. Links the libraries of the executorch wheel. One thread per step.
//
// All tensors of the method live in two caller-owned buffers, inputs and outputs, each tensor at
// an offset that is a multiple of EA_ALIGNMENT, in the order of the method's signature. They are
// bound once: a step copies nothing and passes no arguments.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include <executorch/extension/data_loader/buffer_data_loader.h>
#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/runtime/executor/memory_manager.h>
#include <executorch/runtime/executor/method.h>
#include <executorch/runtime/executor/program.h>
#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

// Its header is not in the wheel, its symbols are.
namespace executorch::extension::threadpool {
class ThreadPool {
  public:
    bool _unsafe_reset_threadpool(uint32_t n_threads);
};
ThreadPool *get_threadpool();
} // namespace executorch::extension::threadpool

namespace et = executorch::runtime;
using executorch::aten::Tensor;
using executorch::aten::TensorImpl;
using executorch::extension::BufferDataLoader;
using executorch::extension::MallocMemoryAllocator;

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kMaxDims = 8;

void stay_quiet(et_timestamp_t, et_pal_log_level_t, const char *, const char *, size_t,
                const char *, size_t) {}

// Before anything else logs: errors are reported by return value.
const bool kIsQuiet = et::register_pal(et::PalImpl::create(stay_quiet, __FILE__));

size_t aligned(size_t n_bytes) { return (n_bytes + kAlignment - 1) / kAlignment * kAlignment; }

struct Model {
    std::unique_ptr<BufferDataLoader> loader;
    std::unique_ptr<et::Program> program;
    std::vector<std::vector<uint8_t>> planned;
    std::vector<et::Span<uint8_t>> spans;
    MallocMemoryAllocator method_allocator;
    MallocMemoryAllocator temp_allocator;
    std::unique_ptr<et::HierarchicalAllocator> planned_allocator;
    std::unique_ptr<et::MemoryManager> manager;
    std::unique_ptr<et::Method> method;
    std::vector<std::unique_ptr<TensorImpl>> inputs;
};

struct TensorFacts {
    int32_t scalar_type;
    int32_t n_dims;
    int64_t sizes[kMaxDims];
    int64_t offset;
    int64_t n_bytes;
};

bool describe(const et::TensorInfo &info, size_t *offset, TensorFacts *facts) {
    if (info.sizes().size() > kMaxDims) return false;
    facts->scalar_type = static_cast<int32_t>(info.scalar_type());
    facts->n_dims = static_cast<int32_t>(info.sizes().size());
    for (size_t i = 0; i < info.sizes().size(); ++i) facts->sizes[i] = info.sizes()[i];
    facts->offset = static_cast<int64_t>(*offset);
    facts->n_bytes = static_cast<int64_t>(info.nbytes());
    *offset += aligned(info.nbytes());
    return true;
}

template <typename T> std::unique_ptr<T> boxed(T &&value) {
    return std::make_unique<T>(std::move(value));
}

et::Error load(Model *model, const uint8_t *content, size_t n_bytes) {
    model->loader = std::make_unique<BufferDataLoader>(content, n_bytes);
    auto program =
        et::Program::load(model->loader.get(), et::Program::Verification::InternalConsistency);
    if (!program.ok()) return program.error();
    model->program = boxed(std::move(program.get()));
    auto meta = model->program->method_meta("forward");
    if (!meta.ok()) return meta.error();
    for (size_t i = 0; i < meta->num_memory_planned_buffers(); ++i) {
        auto size = meta->memory_planned_buffer_size(i);
        if (!size.ok()) return size.error();
        model->planned.emplace_back(static_cast<size_t>(size.get()));
        model->spans.emplace_back(model->planned.back().data(), model->planned.back().size());
    }
    model->planned_allocator = std::make_unique<et::HierarchicalAllocator>(
        et::Span<et::Span<uint8_t>>(model->spans.data(), model->spans.size()));
    model->manager = std::make_unique<et::MemoryManager>(
        &model->method_allocator, model->planned_allocator.get(), &model->temp_allocator);
    auto method = model->program->load_method("forward", model->manager.get());
    if (!method.ok()) return method.error();
    model->method = boxed(std::move(method.get()));
    return et::Error::Ok;
}

} // namespace

#pragma GCC visibility push(default)
extern "C" {

// Returns null and an ExecuTorch error code in *error, or a model that reads `content`, which must
// outlive it.
void *ea_et_open(const uint8_t *content, size_t n_bytes, int32_t *error) {
    et::runtime_init();
    // Two threads take ten times as long for models this small.
    static const bool is_single =
        executorch::extension::threadpool::get_threadpool() == nullptr ||
        executorch::extension::threadpool::get_threadpool()->_unsafe_reset_threadpool(1);
    (void)is_single;
    (void)kIsQuiet;
    auto model = std::make_unique<Model>();
    const et::Error status = load(model.get(), content, n_bytes);
    *error = static_cast<int32_t>(status);
    return status == et::Error::Ok ? model.release() : nullptr;
}

void ea_et_close(void *handle) { delete static_cast<Model *>(handle); }

// side 0: inputs, 1: outputs. Fills up to n_facts descriptions; returns how many tensors there are
// on that side, or -1 if one of them is no tensor of at most 8 dimensions.
int32_t ea_et_tensors(void *handle, int32_t side, TensorFacts *facts, int32_t n_facts) {
    auto meta = static_cast<Model *>(handle)->method->method_meta();
    const size_t n_tensors = side == 0 ? meta.num_inputs() : meta.num_outputs();
    size_t offset = 0;
    for (size_t i = 0; i < n_tensors && i < static_cast<size_t>(n_facts); ++i) {
        auto info = side == 0 ? meta.input_tensor_meta(i) : meta.output_tensor_meta(i);
        if (!info.ok() || !describe(info.get(), &offset, &facts[i])) return -1;
    }
    return static_cast<int32_t>(n_tensors);
}

// Lets the method read and write these buffers, laid out as ea_et_tensors says.
int32_t ea_et_bind(void *handle, uint8_t *inputs, uint8_t *outputs) {
    auto *model = static_cast<Model *>(handle);
    auto meta = model->method->method_meta();
    size_t offset = 0;
    model->inputs.clear();
    for (size_t i = 0; i < meta.num_inputs(); ++i) {
        auto info = meta.input_tensor_meta(i);
        if (!info.ok()) return static_cast<int32_t>(info.error());
        auto impl = std::make_unique<TensorImpl>(
            info->scalar_type(), static_cast<ssize_t>(info->sizes().size()),
            const_cast<executorch::aten::SizesType *>(info->sizes().data()), inputs + offset,
            const_cast<executorch::aten::DimOrderType *>(info->dim_order().data()));
        const et::Error status = model->method->set_input(et::EValue(Tensor(impl.get())), i);
        if (status != et::Error::Ok) return static_cast<int32_t>(status);
        model->inputs.push_back(std::move(impl));
        offset += aligned(info->nbytes());
    }
    offset = 0;
    for (size_t i = 0; i < meta.num_outputs(); ++i) {
        auto info = meta.output_tensor_meta(i);
        if (!info.ok()) return static_cast<int32_t>(info.error());
        const et::Error status =
            model->method->set_output_data_ptr(outputs + offset, info->nbytes(), i);
        if (status != et::Error::Ok) return static_cast<int32_t>(status);
        offset += aligned(info->nbytes());
    }
    return 0;
}

// One step, from the input buffer to the output buffer. Returns an ExecuTorch error code.
int32_t ea_et_step(void *handle) {
    return static_cast<int32_t>(static_cast<Model *>(handle)->method->execute());
}

// The string that the constant method `name` returns, or null. `text` holds n_bytes.
int32_t ea_et_text(void *handle, const char *name, char *text, size_t n_bytes) {
    auto *model = static_cast<Model *>(handle);
    MallocMemoryAllocator method_allocator, temp_allocator;
    et::HierarchicalAllocator none(et::Span<et::Span<uint8_t>>(nullptr, static_cast<size_t>(0)));
    et::MemoryManager manager(&method_allocator, &none, &temp_allocator);
    auto method = model->program->load_method(name, &manager);
    if (!method.ok()) return static_cast<int32_t>(method.error());
    const et::Error status = method->execute();
    if (status != et::Error::Ok) return static_cast<int32_t>(status);
    const et::EValue &value = method->get_output(0);
    if (!value.isString()) return static_cast<int32_t>(et::Error::InvalidType);
    const auto found = value.toString();
    if (found.size() >= n_bytes) return static_cast<int32_t>(et::Error::InvalidArgument);
    std::memcpy(text, found.data(), found.size());
    text[found.size()] = '\0';
    return 0;
}

} // extern "C"
#pragma GCC visibility pop
