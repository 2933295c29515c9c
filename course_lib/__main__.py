"""`python -m course_lib`: the command line of the course."""

from course_lib.cli import main

if __name__ == "__main__":
    main()
