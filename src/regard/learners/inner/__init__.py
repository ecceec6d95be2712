"""The engine of learners that adapt by gradient descent (MAML, ANIL, Meta-SGD, Reptile, Proto-MAML, learned rules).

    loop.py           `GradientLearner`: the inner loop of one task, and adapt, predict and loss of B tasks
    rule.py           how a gradient moves weights: `InnerRule`, gradient descent, Adam
    loss.py           losses of one task: weighted rows, classes that the task lacks hidden
    options.py        the options that all these learners share, written down once
    tasks.py          what goes through the engine: rows, tasks, the plan of an execution
    execution.py      which execution is fastest: a loop, vmap, or vmap compiled
    fallback.py       that execution tried once against a loop, and a loop where the model cannot be vmapped
    meta_gradient.py  losses of B tasks and their meta-gradients by each execution
    compiling.py      a function of tensors, compiled and kept
    kernels.py        attention and recurrence that can be vmapped and differentiated twice
    buffers.py        buffers that a pass through the model changes

A learner is a small file above this folder that says where weights start and which rule moves them. Nothing here is
needed to use one.
"""
