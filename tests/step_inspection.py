"""What a training step is made of, from its graph and its XLA program.

Nothing here runs a step: the functions that Keras calls are traced and taken
apart, so that what a GPU would be given can be seen without one.
"""

import dataclasses
import inspect
import math
import re

import tensorflow as tf
from tensorflow.python.framework import kernels

# What stands around the program in the function that Keras calls: fetching a
# batch, handing the results over, and a loop over several steps.
AROUND = {
    *("Placeholder", "Identity", "NoOp", "Const", "ReadVariableOp"),
    *("IteratorGetNext", "IteratorGetNextAsOptional"),
    *("OptionalFromValue", "OptionalGetValue", "OptionalHasValue"),
    *("OptionalNone", "While", "If", "StatefulPartitionedCall"),
    *("AddV2", "Less", "LogicalAnd"),
    # Of the loop that autograph makes for Keras 2.
    *("Assert", "Cast", "FloorDiv", "FloorMod", "Maximum", "NotEqual"),
    *("Range", "Sub"),
}
# Ways out of a program, in HLO.
LEAVING = (" infeed(", " outfeed(", " send(", " recv(")


@dataclasses.dataclass
class Step:
    """What was found in the function that Keras calls.

    Attributes:
      programs: names of the functions that XLA must compile.
      around: the ops outside of them.
      inside: the ops in them.
      constants: bytes of the largest constant anywhere.
      captures: what it reads beside the batch.
    """

    programs: list[str]
    around: set[str]
    inside: set[str]
    constants: int
    captures: list[tf.Tensor]

    def faults(self) -> list[str]:
        """What keeps it from being one program that a GPU runs alone."""
        faults = []
        if len(self.programs) != 1:
            faults.append(f"{len(self.programs)} programs, not 1")
        strange = sorted(self.around - AROUND)
        if strange:
            faults.append(f"beside the program: {strange}")
        slow = sorted(op for op in self.around if not runs_on_gpu(op))
        if slow:
            faults.append(f"TensorFlow has no GPU kernel for {slow}")
        unfit = sorted(op for op in self.inside if not compiles_for_gpu(op))
        if unfit:
            faults.append(f"XLA has no GPU kernel for {unfit}")
        return faults


def compiles_for_gpu(op: str) -> bool:
    """Whether XLA takes it on a GPU; a call takes what it calls."""
    found = kernels.get_registered_kernels_for_op(op).kernel
    return any(kernel.device_type == "XLA_GPU_JIT" for kernel in found)


def runs_on_gpu(op: str) -> bool:
    """Whether TensorFlow has a kernel of its own; a function's input has."""
    found = kernels.get_registered_kernels_for_op(op).kernel
    types = {kernel.device_type for kernel in found}
    return op == "Placeholder" or not types.isdisjoint({"GPU", "DEFAULT"})


def register_kernels() -> None:
    """XLA makes its own known when it is first used."""
    tf.function(tf.identity, jit_compile=True)(tf.zeros(()))


def step_of(trainer, dataset) -> Step:
    """Traces what `fit` calls for a batch, or for several."""
    register_kernels()
    trainer.make_train_function()
    called = trainer.train_function
    if not hasattr(called, "get_concrete_function"):  # Keras 3 wraps it
        variables = inspect.getclosurevars(called).nonlocals
        called = variables["multi_step_on_iterator"]
    concrete = called.get_concrete_function(iter(dataset))
    graph = concrete.graph.as_graph_def()
    functions = {f.signature.name: f for f in graph.library.function}
    step = Step([], set(), set(), 0, list(concrete.captured_inputs))
    _walk(graph.node, functions, step, inside=False)
    return step


def _walk(nodes, functions, step, *, inside: bool) -> None:
    for node in nodes:
        (step.inside if inside else step.around).add(node.op)
        if node.op == "Const":
            size = node.attr["value"].tensor.ByteSize()
            step.constants = max(step.constants, size)
        for name in _called(node):
            function = functions[name]
            compiled = any(
                attr["_XlaMustCompile"].b
                for attr in (node.attr, function.attr)
                if "_XlaMustCompile" in attr
            )
            if compiled and not inside:
                step.programs.append(name)
            _walk(function.node_def, functions, step, inside=inside or compiled)


def _called(node) -> list[str]:
    """Names of the functions that a node calls."""
    return [
        function.name
        for attr in node.attr.values()
        for function in [attr.func, *attr.list.func]
        if function.name
    ]


def hlo_of(trainer, dataset) -> str:
    """The program of one step, as XLA is given it."""
    compiled = tf.function(trainer.train_step, jit_compile=True)
    batch = next(iter(dataset))
    return compiled.experimental_get_compiler_ir(batch)(stage="hlo")


def leaves(hlo: str) -> list[str]:
    """The lines of a program in which it deals with the host."""
    return [
        line.strip()
        for line in hlo.splitlines()
        if any(word in line for word in LEAVING)
    ]


def custom_calls(hlo: str) -> list[str]:
    """The lines in which a program calls something that is not XLA's."""
    return [x.strip() for x in hlo.splitlines() if " custom-call(" in x]


def parameters(hlo: str) -> list[str]:
    """The shapes that a program is given, such as f32[50,10]."""
    entry = hlo[hlo.index("\nENTRY ") :]
    return re.findall(r"= (\w+\[[\d,]*\])\S* parameter\(", entry)


def sent_per_example(dataset) -> int:
    """Bytes of each example that a dataset sends."""
    return sum(
        math.prod(spec.shape[1:]) * spec.dtype.size
        for spec in tf.nest.flatten(dataset.element_spec)
    )
