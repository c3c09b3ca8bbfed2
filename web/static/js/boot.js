// A classic script in <head>, because a module runs after the first paint and a dark page would flash white.
try {
  const theme = localStorage.getItem('cairn.theme');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
} catch {
  // Storage can be forbidden; the system's preference then decides.
}
