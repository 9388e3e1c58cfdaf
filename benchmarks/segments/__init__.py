"""Whether segments through the real Ray Tune are trained once each and told rightly, when
everything comes late or dies.
"""
