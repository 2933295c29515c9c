"""Self-checks of the exercises: one module a chapter, each wrong answer with its own hint.

A notebook imports the module of its chapter (`from course_lib.checks import one_step_by_hand as checks`) and hands it
the learner's answer. `answers` holds what all of them share.
"""
