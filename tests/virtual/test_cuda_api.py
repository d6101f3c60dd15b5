"""``torch.cuda.*``: queries, streams, events, generators, graphs, settings, and putting them back."""
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from trainworthy.hardware import gpu_row
from trainworthy.virtual.gpu import VirtualGpu

CUDA = torch.device("cuda", 0)


def test_queries(gpu: VirtualGpu) -> None:
    row = gpu_row("h100-sxm-80gb")
    cuda = torch.cuda
    assert cuda.is_available()
    assert cuda.device_count() == 1
    assert cuda.current_device() == 0
    assert cuda.get_device_name() == cuda.get_device_name(0) == cuda.get_device_name("cuda:0") == row.names[0]
    assert cuda.get_device_capability() == (9, 0)
    properties = cuda.get_device_properties(torch.device("cuda"))
    assert properties.name == row.names[0]
    assert properties.total_memory == row.memory_bytes
    assert (properties.major, properties.minor) == (9, 0)
    assert properties.multi_processor_count == row.sm_count
    assert cuda.is_bf16_supported()
    assert not cuda.is_initialized()
    torch.empty(1, device="cuda")
    assert cuda.is_initialized()
    assert cuda.get_arch_list() == ["sm_90"]
    free, total = cuda.mem_get_info()
    assert 0 < free < total == row.memory_bytes
    assert torch.version.cuda
    assert torch.backends.cudnn.is_available()
    assert torch.backends.cudnn.version() > 90000
    assert torch.backends.cuda.is_built()
    assert torch.cuda.nccl.version()[0] >= 2
    assert torch.distributed.is_nccl_available() in {True, False}
    assert torch.cuda.can_device_access_peer(0, 0) is False
    assert torch.cuda.get_device_name(torch.cuda.current_device())
    assert gpu.name == row.names[0]


@pytest.mark.parametrize(("name", "capability", "bf16"), [
    ("v100-sxm2-16gb", (7, 0), False), ("t4-pcie-16gb", (7, 5), False), ("a100-sxm-80gb", (8, 0), True),
    ("rtx-4090-24gb", (8, 9), True),
])  # fmt: skip
def test_other_rows(name: str, capability: tuple[int, int], bf16: bool) -> None:
    with VirtualGpu(gpu_row(name)):
        assert torch.cuda.get_device_capability() == capability
        assert torch.cuda.is_bf16_supported(including_emulation=False) is bf16
        assert torch.cuda.is_bf16_supported() is True
        assert torch.cuda.get_device_properties(0).total_memory == gpu_row(name).memory_bytes


def test_device_contexts() -> None:
    with VirtualGpu(gpu_row("h100-sxm-80gb")):
        torch.cuda.set_device(0)
        torch.cuda.set_device("cuda:0")
        torch.cuda.set_device(torch.device("cuda", 0))
        with pytest.raises(RuntimeError, match="invalid device ordinal"):
            torch.cuda.set_device(3)
        with torch.cuda.device(0), torch.cuda.device("cuda:0"):
            x = torch.zeros(1).cuda()
        with torch.cuda.device_of(x):
            assert x.is_cuda


def test_memory_counters(gpu: VirtualGpu) -> None:
    assert torch.cuda.memory_allocated() == 0
    x = torch.empty(1 << 20, device="cuda")
    assert torch.cuda.memory_allocated() == 4 << 20
    y = x + 1
    assert torch.cuda.memory_allocated(0) == 8 << 20
    del y
    assert torch.cuda.memory_allocated("cuda") == 4 << 20
    assert torch.cuda.max_memory_allocated() == 8 << 20
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == 4 << 20
    assert torch.cuda.memory_reserved() >= torch.cuda.memory_allocated()
    stats = torch.cuda.memory_stats()
    assert stats["allocated_bytes.all.current"] == 4 << 20
    assert stats.get("num_ooms", 0) == 0
    torch.cuda.empty_cache()
    assert isinstance(torch.cuda.memory_summary(), str)
    assert torch.cuda.memory.max_memory_allocated() == 4 << 20
    small = torch.empty(1, device="cuda")
    assert torch.cuda.memory_allocated() == (4 << 20) + 512
    assert gpu.recorder.ledger.allocated_bytes["cuda:0"] == (4 << 20) + 512
    del small, x


def test_streams_and_events(gpu: VirtualGpu) -> None:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    with torch.cuda.stream(stream):
        assert torch.cuda.current_stream() == stream
        start.record()
        x = torch.ones(4).to("cuda", non_blocking=True)
        x.record_stream(stream)
        end.record(stream)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.current_stream().wait_event(end)
    end.synchronize()
    assert start.elapsed_time(end) > 0
    assert end.query()
    assert stream.query()
    assert isinstance(stream, torch.cuda.Stream)
    torch.cuda.synchronize()
    torch.cuda.synchronize(device=0)
    with torch.cuda.stream(None):
        pass
    syncs = [op for op in gpu.tape().ops if op.name == "cuda.synchronize"]
    assert sum(op.host_syncs for op in syncs) == 3


def test_an_event_far_back_does_not_stop_the_device(gpu: VirtualGpu) -> None:
    """Waiting for the step before while the next is queued is how a loop reads numbers without a stall."""
    x = torch.ones(4, device="cuda")
    near, far = torch.cuda.Event(), torch.cuda.Event()
    far.record()
    for _ in range(40):
        x = x + 1
    near.record()
    far.synchronize()
    assert not any(op.name == "cuda.synchronize" for op in gpu.tape().ops)
    near.synchronize()
    assert sum(op.name == "cuda.synchronize" for op in gpu.tape().ops) == 1


def test_accelerator_api() -> None:
    with VirtualGpu(gpu_row("h100-sxm-80gb")):
        assert torch.accelerator.is_available()
        assert torch.accelerator.current_accelerator().type == "cuda"
        assert torch.accelerator.device_count() == 1
        torch.accelerator.synchronize()
        assert torch.get_device_module("cuda") is torch.cuda
        assert torch.get_device_module() is torch.cuda


def test_generators_and_seeds(gpu: VirtualGpu) -> None:
    torch.manual_seed(0)
    torch.cuda.manual_seed(1)
    torch.cuda.manual_seed_all(2)
    generator = torch.Generator(device="cuda").manual_seed(3)
    assert generator.device == CUDA
    assert isinstance(generator, torch.Generator)
    assert generator.initial_seed() == 3
    assert torch.randn(3, generator=generator, device="cuda").device == CUDA
    assert torch.randperm(5, generator=generator, device="cuda").shape == (5,)
    assert torch.empty(3, device="cuda").normal_(generator=generator).device == CUDA
    assert torch.multinomial(torch.ones(4, device="cuda"), 2, generator=generator).shape == (2,)
    assert torch.rand(3, generator=torch.Generator().manual_seed(0)).shape == (3,)
    state = torch.cuda.get_rng_state()
    assert (state.device.type, state.dtype) == ("cpu", torch.uint8)
    torch.cuda.set_rng_state(state)
    torch.cuda.set_rng_state_all(torch.cuda.get_rng_state_all())
    generator.set_state(generator.get_state())
    with torch.random.fork_rng():
        torch.manual_seed(5)
        torch.rand(2, device="cuda")
    with torch.random.fork_rng(devices=[0]):
        torch.rand(2, device="cuda")
    assert torch.cuda.initial_seed() >= 0
    assert len(torch.cuda.default_generators) == 1
    torch.use_deterministic_algorithms(True)
    torch.use_deterministic_algorithms(False)
    assert gpu.recorder.ops


def test_real_random_numbers_repeat_after_a_seed() -> None:
    with VirtualGpu(gpu_row("h100-sxm-80gb")):
        torch.manual_seed(7)
        first = torch.rand(3).tolist()
        torch.manual_seed(7)
        torch.rand(100, device="cuda")  # the device has a generator of its own
        assert torch.rand(3).tolist() == first


def test_precision_switches() -> None:
    with VirtualGpu(gpu_row("a100-sxm-80gb")):
        before = (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark)
        torch.set_float32_matmul_precision("high")
        assert torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.deterministic = False
        assert torch.backends.cudnn.enabled
        with torch.backends.cudnn.flags(enabled=True, benchmark=False):
            assert not torch.backends.cudnn.benchmark
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.benchmark = before[1]


def test_cuda_graph_capture_and_replay(gpu: VirtualGpu) -> None:
    model = nn.Linear(8, 8).cuda()
    static = torch.zeros(4, 8, device="cuda")
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        model(static)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = model(static)
    before = len(gpu.recorder.ops)
    static.copy_(torch.ones(4, 8))
    for _ in range(3):
        graph.replay()
    names = [op.name for op in gpu.tape().ops][before:]
    assert sum(n == "addmm" for n in names) == 3
    assert out.shape == (4, 8)
    assert torch.cuda.graph_pool_handle() is not None
    assert not torch.cuda.is_current_stream_capturing()


def test_make_graphed_callables(gpu: VirtualGpu) -> None:
    model = nn.Linear(8, 8).cuda()
    sample = torch.zeros(4, 8, device="cuda")
    graphed = torch.cuda.make_graphed_callables(model, (sample,))
    graphed(sample).sum().backward()
    assert model.weight.grad is not None
    one, two = torch.cuda.make_graphed_callables((model, nn.ReLU()), ((sample,), (sample,)))
    assert two(one(sample)).shape == (4, 8)


def test_nvtx_and_profiler(gpu: VirtualGpu) -> None:
    torch.cuda.nvtx.range_push("forward")
    with torch.cuda.nvtx.range("x"), torch.autograd.profiler.record_function("y"):
        torch.ones(2, device="cuda") + 1
    torch.cuda.nvtx.range_pop()
    torch.cuda.cudart().cudaProfilerStart()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        torch.ones(2, device="cuda") * 2
        profile.step()
    assert gpu.recorder.ops


def test_threads_use_the_same_gpu(gpu: VirtualGpu) -> None:
    results: list[torch.Tensor] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            x = torch.ones(3, 4).to("cuda")
            y = torch.ones(4, 2, device="cuda", requires_grad=True)
            out = x @ y
            out.sum().backward()
            assert y.grad is not None
            with torch.autocast("cuda", dtype=torch.bfloat16):
                assert (x @ y).dtype is torch.bfloat16
            results.append(out)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [r.device for r in results] == [CUDA, CUDA]
    assert [tuple(r.shape) for r in results] == [(3, 2), (3, 2)]
    assert sum(op.name == "mm" for op in gpu.tape().ops) >= 6


def _snapshot() -> list[object]:
    owners = [torch, torch.Tensor, torch.cuda, torch.cuda.memory, torch.cuda.random, torch.backends.cudnn,
              torch.backends.cuda, nn.Module, nn.Parameter, torch.optim.Optimizer, torch.accelerator,
              torch.UntypedStorage, torch.fft, torch.autograd, torch.version, torch.utils.data,
              torch.autograd.graph, torch.cuda.nvtx, torch.cuda.amp, torch.jit, threading.Thread]  # fmt: skip
    skipped = {"_dynamo"}
    return [{k: id(v) for k, v in vars(o).items() if k not in skipped} for o in owners]


def test_everything_is_put_back() -> None:
    with VirtualGpu(gpu_row("h100-sxm-80gb")):
        torch.zeros(1, device="cuda")
    before = _snapshot()
    with VirtualGpu(gpu_row("h100-sxm-80gb")):
        assert torch.cuda.is_available()
        torch.set_default_device("cuda")
        nn.Linear(2, 2)(torch.ones(2)).sum().backward()
    assert _snapshot() == before
    assert not torch.cuda.is_available()
    assert torch.get_default_device().type == "cpu"
    assert torch.ones(2).add(1).tolist() == [2.0, 2.0]
    assert torch.utils._python_dispatch._get_current_dispatch_mode_stack() == []
    assert torch.overrides._get_current_function_mode_stack() == []
    with pytest.raises((RuntimeError, AssertionError)):
        torch.zeros(1, device="cuda")


def test_everything_is_put_back_after_an_exception() -> None:
    before = _snapshot()
    with (
        pytest.raises(RuntimeError, match="mat1 and mat2"),
        VirtualGpu(gpu_row("h100-sxm-80gb")),
        torch.autocast("cuda", dtype=torch.float16),
        torch.no_grad(),
        torch.device("cuda"),
    ):
        torch.ones(2, 3) @ torch.ones(4, 5)
    assert _snapshot() == before
    assert not torch.cuda.is_available()
    assert not torch.is_autocast_enabled("cuda")
    assert torch.is_grad_enabled()
    assert torch.utils._python_dispatch._get_current_dispatch_mode_stack() == []


def test_a_second_gpu_in_the_same_process() -> None:
    names = []
    for row in ("a100-sxm-80gb", "v100-sxm2-16gb"):
        with VirtualGpu(gpu_row(row)) as gpu:
            model = nn.Linear(4, 4).cuda()
            model(torch.ones(2, 4, device="cuda")).sum().backward()
            names.append([op.name for op in gpu.tape().ops])
            assert torch.cuda.get_device_capability() == gpu.capability
    assert names[0] == names[1]


def test_backward_before_the_rehearsal() -> None:
    w = torch.ones(3, requires_grad=True)
    (w * 2).sum().backward()
    with VirtualGpu(gpu_row("h100-sxm-80gb")):
        model = nn.Linear(4, 4).cuda()
        model(torch.ones(2, 4, device="cuda")).sum().backward()
        assert model.weight.grad is not None
        assert model.weight.grad.device == CUDA
    (w * 2).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [4.0, 4.0, 4.0]


def test_real_tensors_are_untouched() -> None:
    with VirtualGpu(gpu_row("h100-sxm-80gb")):
        x = torch.arange(6.0).reshape(2, 3).requires_grad_()
        (x * x).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [[0, 2, 4], [6, 8, 10]]
        assert (torch.tensor([3.0]) / 2).item() == 1.5
