import numpy as np

from kinevec.motion.changing import changing_near


def test_flow_counts_within_an_eighth_of_the_side_of_a_change():
    before = np.full((2, 32, 48, 3), 100, np.uint8)
    after = before.copy()
    after[0, 10, 20, 1] += 7  # one channel is enough
    after[1, 10, 20] -= 6  # and so little is none
    near = changing_near(before, after)
    y, x = np.mgrid[:32, :48]
    far = np.hypot(y - 10, x - 20)
    assert near.shape == (2, 32, 48)
    assert near[0][far <= 3.5].all()
    assert near[0, 10, 24]
    assert near[0, 14, 20]
    assert not near[0][far > 4.5].any()
    assert not near[1].any()
    assert np.array_equal(changing_near(after, before), near)
