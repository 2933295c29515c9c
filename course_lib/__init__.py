"""The small library behind the course "What Is Training?".

Importing it does nothing: no device is probed, no file is read, no logger is set up. Import the module whose idea you
want (`from course_lib import training`); each one says in its docstring which chapter teaches it.
"""

__version__ = "0.1.0"
