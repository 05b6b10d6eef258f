// Which points lie in a line, and which is nearest.

// Rows of points inside a closed line [x, y, x, y, …]; place(row) gives a point's pixels.
export function inside(points, line, place) {
  let [low, high, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < line.length; i += 2) {
    low = Math.min(low, line[i]);
    high = Math.max(high, line[i]);
    top = Math.min(top, line[i + 1]);
    bottom = Math.max(bottom, line[i + 1]);
  }
  const rows = [];
  for (let row = 0; row < points.count; row += 1) {
    const [x, y] = place(row);
    if (x >= low && x <= high && y >= top && y <= bottom && crossed(line, x, y)) rows.push(row);
  }
  return rows;
}

// Whether a ray from a point to the right crosses the line an odd number of times.
function crossed(line, x, y) {
  let odd = false;
  let [ax, ay] = line.slice(-2);
  for (let i = 0; i < line.length; i += 2) {
    const [bx, by] = [line[i], line[i + 1]];
    if ((ay > y) !== (by > y) && x < ax + (y - ay) * (bx - ax) / (by - ay)) odd = !odd;
    [ax, ay] = [bx, by];
  }
  return odd;
}

// Row of the lit point nearest to a place, no farther than `reach`; -1: none.
export function nearest(points, x, y, reach, lit) {
  let best = -1;
  let least = reach * reach;
  for (let row = 0; row < points.count; row += 1) {
    const [dx, dy] = [points.x[row] - x, points.y[row] - y];
    const apart = dx * dx + dy * dy;
    if (apart <= least && lit[row]) {
      least = apart;
      best = row;
    }
  }
  return best;
}
