"""Readers behind a server: any that speaks OpenAI's chat completions (vLLM, SGLang, llama.cpp, Ollama).

May send pictures to the hosts that the user lists and to this machine, nowhere else. Nothing is scored that the server
did not say, and a key is read from an environment variable and written nowhere.
"""
