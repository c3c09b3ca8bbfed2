# Sends known events of every kind with Debian's ruby-statsd: send.rb HOST PORT N.
require "statsd"

host, port, n = ARGV[0], ARGV[1].to_i, ARGV[2].to_i
client = Statsd.new(host, port)
client.namespace = "rb"
(1..n).each do |i|
  client.increment("Shop::hits")
  client.decrement("stock")
  client.count("sum", i)
  client.timing("timing", i)
  client.set("set", "user#{i % 100}")
  client.gauge("level", i - 0.5)
end
client.batch do |b|
  (1..n).each do |i|
    b.count("batched", 1.5)
    b.timing("batched_timing", i)
  end
end
