// Boost.Asio as its users write an echo server: one io_context run by one thread, asynchronous operations, one buffer
// a connection. Built by `bench` with `g++ -O2` when the headers are installed.

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <sys/prctl.h>
#include <csignal>
#include <utility>

#include <boost/asio.hpp>

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

class Session : public std::enable_shared_from_this<Session> {
public:
    explicit Session(tcp::socket socket) : socket_(std::move(socket)) {}

    void read() {
        auto self = shared_from_this();
        socket_.async_read_some(asio::buffer(buffer_), [this, self](boost::system::error_code error, std::size_t length) {
            if (!error) {
                write(length);
            }
        });
    }

private:
    void write(std::size_t length) {
        auto self = shared_from_this();
        asio::async_write(socket_, asio::buffer(buffer_.data(), length),
                          [this, self](boost::system::error_code error, std::size_t) {
                              if (!error) {
                                  read();
                              }
                          });
    }

    tcp::socket socket_;
    std::array<char, 128 * 1024> buffer_;
};

void accept(tcp::acceptor& acceptor) {
    acceptor.async_accept([&acceptor](boost::system::error_code error, tcp::socket socket) {
        if (!error) {
            socket.set_option(tcp::no_delay(true), error);
            std::make_shared<Session>(std::move(socket))->read();
        }
        accept(acceptor);
    });
}

}  // namespace

int main() {
    // So that no run leaves a server behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // One thread: the hint lets Asio leave out its locks.
    asio::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
    tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    acceptor.listen(4096);
    std::printf("listening tcp://127.0.0.1:%u\n", static_cast<unsigned>(acceptor.local_endpoint().port()));
    std::fflush(stdout);
    accept(acceptor);
    context.run();
}
