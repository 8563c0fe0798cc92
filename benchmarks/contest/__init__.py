"""What stands behind ../peers.py.

A contender is a row of `contenders.py`: a module of this folder that loads it (and builds what it needs), and the
requirements file, `*.txt`, of its virtual environment. Children run as `python -m contest.child` from the folder above,
so a module may have the name of the library it drives. `data.py` and `works.py` choose the texts, `environments.py`
makes the environments, `processes.py` runs the children, `report.py` shows what they measured.
"""
