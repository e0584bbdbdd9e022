from tokenprune.drawing.numbers import Interval as Interval
