"""From what an author writes to the HTML that is sent: MJML compiled, CSS inlined, template tags left where they are.

Both compilers are native code that no budget of ours bounds: 2,000 nested elements end their process with a stack
overflow, and a stylesheet of 2,000 rules for 2,000 elements takes minutes, in which no other thread runs. So they run
in a process of their own (:mod:`.child`) with limits of CPU time and memory; :mod:`.compiler` starts and may kill it.

:mod:`.tags` and :mod:`.build` are pure; what fails is a :class:`~.problem.MarkupProblem` for the author, and
nobody retries it.
"""
