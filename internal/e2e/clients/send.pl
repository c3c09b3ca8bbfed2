# Sends known events of every kind that Net::Statsd has: send.pl HOST PORT N.
use strict;
use warnings;
use Net::Statsd;

my ($host, $port, $n) = @ARGV;
$Net::Statsd::HOST = $host;
$Net::Statsd::PORT = $port;
for my $i (1 .. $n) {
    Net::Statsd::increment('perl.hits');
    Net::Statsd::decrement('perl.stock');
    Net::Statsd::update_stats('perl.sum', $i);
    Net::Statsd::update_stats(['perl.one', 'perl.two'], 5);
    Net::Statsd::timing('perl.timing', $i);
}
Net::Statsd::gauge('perl.level' => $_) for 20, 5.25, 12;
Net::Statsd::gauge('perl.other' => 7, 'perl.third' => 9.5);
