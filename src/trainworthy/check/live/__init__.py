"""The live guard: watches the first real steps of a training and says what is wrong with them.

``facts`` is plain data and needs no torch; what collects it (``watch`` and the modules it installs) does.
The live rules in ``check/rules`` read the facts only.
"""
