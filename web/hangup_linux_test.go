package web

const looksForHangups = true
