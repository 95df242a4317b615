"""What a recording shows about dead tokens: how they drift, how they move, when they slow down, freeze and merge.

Every analysis is a pass over the recorded frames (:mod:`.stream`), so that all of them together read a recording once.
"""
