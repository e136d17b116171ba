// uWebSockets as its users write an echo server: one loop run by one thread, `send` from the message handler, where the
// library corks. The library is the one inside the Python package `socketify`; none of Python runs here. Built by `bench`
// with `g++ -O2` when that package and libuv, which it stands on, are there.

#include <csignal>
#include <cstdio>
#include <cstring>
#include <sys/prctl.h>

// Of the library's C interface what is needed, by hand, since the package ships no header for it.
extern "C" {

struct us_listen_socket_t;
struct uws_app_s;
struct uws_websocket_s;

enum uws_opcode_t { TEXT = 1, BINARY = 2 };
enum { DISABLED = 0, SHARED_COMPRESSOR = 1, SHARED_DECOMPRESSOR = 1 << 8 };

struct us_socket_context_options_t {
    const char* files[6];
    int prefers_low_memory_usage;
};

struct uws_app_listen_config_t {
    int port;
    const char* host;
    int options;
};

struct uws_socket_behavior_t {
    int compression;
    unsigned int max_payload_length;
    unsigned short idle_timeout;
    unsigned int max_backpressure;
    bool close_on_backpressure_limit;
    bool reset_idle_timeout_on_send;
    bool send_pings_automatically;
    unsigned short max_lifetime;
    void (*upgrade)();
    void (*open)();
    void (*message)(uws_websocket_s* socket, const char* message, size_t length, uws_opcode_t opcode, void* user_data);
    void (*others[6])();
};

uws_app_s* uws_create_app(int ssl, us_socket_context_options_t options);
void uws_ws(int ssl, uws_app_s* app, const char* pattern, uws_socket_behavior_t behavior, void* user_data);
int uws_ws_send_with_options(int ssl, uws_websocket_s* socket, const char* message, size_t length, uws_opcode_t opcode,
                             bool compress, bool fin);
void uws_app_listen_with_config(int ssl, uws_app_s* app, uws_app_listen_config_t config,
                                void (*handler)(us_listen_socket_t*, uws_app_listen_config_t, void*), void* user_data);
int us_socket_local_port(int ssl, us_listen_socket_t* socket);
void uws_app_run(int ssl, uws_app_s* app);
}

namespace {

bool compresses = false;

void echo(uws_websocket_s* socket, const char* message, size_t length, uws_opcode_t opcode, void*) {
    uws_ws_send_with_options(0, socket, message, length, opcode, compresses, true);
}

void announce(us_listen_socket_t* listener, uws_app_listen_config_t, void*) {
    if (listener) {
        std::printf("listening tcp://127.0.0.1:%d\n", us_socket_local_port(0, listener));
        std::fflush(stdout);
    }
}

}  // namespace

int main(int count, char** arguments) {
    // So that no run leaves a server behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    compresses = count > 1 && std::strcmp(arguments[1], "--compress") == 0;
    uws_app_s* app = uws_create_app(0, us_socket_context_options_t{});
    uws_socket_behavior_t behavior{};
    behavior.compression = compresses ? SHARED_COMPRESSOR | SHARED_DECOMPRESSOR : DISABLED;
    behavior.max_payload_length = 16 * 1024 * 1024;
    // The library's defaults, which its C interface does not fill in.
    behavior.idle_timeout = 120;
    behavior.max_backpressure = 64 * 1024;
    behavior.send_pings_automatically = true;
    behavior.message = echo;
    uws_ws(0, app, "/*", behavior, nullptr);
    uws_app_listen_with_config(0, app, uws_app_listen_config_t{0, "127.0.0.1", 0}, announce, nullptr);
    uws_app_run(0, app);
}
