#pragma once

namespace rondo {

/// SIGUSR1 and SIGUSR2 ask for a save and a stop; the handler only sets a flag, which the training loop agrees on over
/// ranks (reliability_ops 3.4).
void install_stop_signal();
bool stop_requested();

}  // namespace rondo
